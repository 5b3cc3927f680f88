"""Silero VAD in numpy: the same as the model in the wheel, run by onnxruntime."""

import ctypes
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest

from services.stt import silero_weights
from services.stt.silero import LARGEST_BATCH, SHOWN, STATE, WINDOW, Silero
from services.stt.silero_weights import Array, model_path
from shared.audio import RATE
from shared.espeak import speak
from shared.pcm import Pcm, decode


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


class Reference:
    """The model in the wheel."""

    def __init__(self) -> None:
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])

    def __call__(self, windows: Pcm, states: Array) -> tuple[Array, Array]:
        sound = windows.astype(np.float32) / np.float32(32768)
        inputs = {"input": sound, "state": states, "sr": np.array(RATE, dtype=np.int64)}
        probabilities, after = self._session.run(None, inputs)
        return np.asarray(probabilities)[:, 0], np.asarray(after)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


TEXTS = [
    "what are your opening hours, and may I come on a Sunday in the afternoon",
    "my order number is one two three four five six seven eight nine",
    "she sells sea shells by the sea shore, and he does not buy any of them",
    "yes",
]


def conversations(count: int, gain: float) -> Pcm:
    """Windows [time, call, 32 + 256]: `count` callers who say the same, each a bit later than the one before."""
    said = np.concatenate([decode(speak(text).mulaw + b"\xff" * 4000) for text in TEXTS]) * gain
    delayed = np.stack([np.roll(said, 997 * caller) for caller in range(count)])
    hiss = np.random.default_rng(1).standard_normal(delayed.shape) * 20
    sound = np.clip(delayed + hiss, -32768, 32767).astype(np.int16)
    starts = range(0, sound.shape[1] - SHOWN + 1, WINDOW)
    return np.stack([sound[:, start : start + SHOWN] for start in starts])


@pytest.mark.parametrize(("count", "gain"), [(1, 1.0), (2, 1.0), (6, 1.0), (12, 0.03), (12, 1.0), (12, 4.0)])
def test_a_conversation_is_judged_as_by_the_model_in_the_wheel(
    silero: Silero, reference: Reference, count: int, gain: float
) -> None:
    ours = theirs = np.zeros((2, count, STATE), dtype=np.float32)
    told = []
    for windows in conversations(count, gain):
        probabilities, ours = silero(windows, ours)
        expected, theirs = reference(windows, theirs)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-4)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=0, atol=1e-4)
        # The cells grow beyond 100: there both are more than 1e-4 from what double precision gives.
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-4)
        told.append(expected)
    assert len(told) > 300
    assert np.min(told) < 0.1
    assert np.max(told) > 0.9


def test_the_largest_batch_is_judged_as_by_the_model_in_the_wheel(silero: Silero, reference: Reference) -> None:
    generator = np.random.default_rng(1)
    windows = generator.integers(-32768, 32767, (LARGEST_BATCH, SHOWN), dtype=np.int16)
    states = generator.standard_normal((2, LARGEST_BATCH, STATE)).astype(np.float32)
    for got, expected in zip(silero(windows, states), reference(windows, states), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


def test_the_states_given_stay_as_they_are_and_those_returned_are_the_callers(silero: Silero) -> None:
    windows = conversations(3, 1.0)
    before = np.zeros((2, 3, STATE), dtype=np.float32)
    probabilities, after = silero(windows[20], before)
    kept = probabilities.copy(), after.copy()
    silero(windows[21], after)
    assert not before.any()
    assert (probabilities == kept[0]).all()
    assert (after == kept[1]).all()


def test_numpy_multiplies_in_one_thread(silero: Silero) -> None:
    numpy_core = find_spec("numpy._core._multiarray_umath")
    assert numpy_core is not None
    library = ctypes.CDLL(numpy_core.origin)
    if not hasattr(library, "scipy_openblas_get_num_threads64_"):
        pytest.skip("this numpy brings no OpenBLAS")
    assert library.scipy_openblas_get_num_threads64_() == 1


@pytest.mark.parametrize("content", [b"", b"\x3a\x02\x0a\x00"])
def test_another_model_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "silero_vad.onnx"
    other.write_bytes(content)
    monkeypatch.setattr(silero_weights, "model_path", lambda: other)
    with pytest.raises(RuntimeError, match=r"silero_vad\.onnx is no Silero VAD v5"):
        silero_weights.load()
