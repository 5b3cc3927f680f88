"""Runs a command that dies with whoever started it: `python -m simulator.leash PARENT COMMAND…`.

The command keeps the process id. Source: prctl(2), PR_SET_PDEATHSIG, which survives execve; elsewhere than on
Linux the leash is not there, and only an orderly end stops the command.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    # Not in the terminal's foreground group: Ctrl-C is for whoever started this, which then stops it in order.
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise SystemExit("the process that wanted this command is gone")
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}") from error


if __name__ == "__main__":
    main()
