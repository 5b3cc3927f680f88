"""The ears of all callers, in a process of their own: listening takes CPU, and no caller may fall silent for it."""

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType

from simulator import ear
from simulator.chaos.recording import Recording
from simulator.chaos.verdict import CallVerdict, Fault, Judge

_PR_SET_PDEATHSIG = 1
_NICE = 10


def _leashed() -> None:
    """Leave Ctrl-C to the parent, and end with it; see simulator.leash. What is judged has the CPU first."""
    os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _any(clips: Sequence[bytes], audio: bytes) -> bool:
    return any(ear.similarity(clip, audio).score >= ear.SAME for clip in clips)


class Ears:
    """Use as `with Ears() as ears`."""

    def __init__(self) -> None:
        """The process begins with the first thing to listen to."""
        # Not threads: OpenBLAS deadlocks when this process starts another one while a thread of it computes.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_leashed)

    def __enter__(self) -> "Ears":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    async def hear(self, clips: Sequence[bytes], audio: bytes) -> bool:
        """Whether one of the clips is heard in `audio` (both 8 kHz μ-law)."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _any, clips, audio)

    async def verdict(self, judge: Judge, recording: Recording, fault: Fault) -> CallVerdict:
        """The verdict on one call."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, judge.call, recording, fault)
