"""Coroutines that never wait, run where a plain function is called."""

from collections.abc import Coroutine
from typing import Any


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end. Raises RuntimeError when it waits for something."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError(f"{work} waits")
