"""Python's garbage collector, in a process in which nobody may wait for it."""

import gc


def settle() -> None:
    """Everything that is there now stays: the collector does not look at it any more.

    After start these are some hundred thousand objects of modules that never die. A full collection stands still for
    20 to 60 ms because of them, and all calls of the process with it.
    """
    gc.collect()
    gc.freeze()
