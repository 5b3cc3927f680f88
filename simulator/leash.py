"""Runs a command that dies with whoever started it: `python -m simulator.leash PARENT CORES COMMAND…`.

The command keeps the process id, and runs on these cores only (`0,1`, or `any`). Source: prctl(2), PR_SET_PDEATHSIG,
which survives execve; elsewhere than on Linux neither the leash nor the cores are there, and only an orderly end stops
the command.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
ANY = "any"
"""The command may run on every core."""


def main() -> None:
    """Become the command."""
    parent, cores, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    # Not in the terminal's foreground group: Ctrl-C is for whoever started this, which then stops it in order.
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise SystemExit("the process that wanted this command is gone")
    try:
        if sys.platform == "linux" and cores != ANY:
            os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}") from error


if __name__ == "__main__":
    main()
