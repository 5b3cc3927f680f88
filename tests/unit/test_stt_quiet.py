"""When nothing came from the caller."""

import pytest

from services.stt.quiet import QuietLine
from shared.audio import FRAME_BYTES, FRAME_MS, SILENCE


def heard(line: str, lost: int | None = None, together: int = 1) -> QuietLine:
    """What is known of a line of frames, s a sound and q none, so many `together`; number `lost` never came."""
    quiet = QuietLine()
    for index in range(0, len(line), together):
        if index != lost:
            frames = (b"\x10" if kind == "s" else SILENCE for kind in line[index : index + together])
            quiet.add(index * FRAME_MS, b"".join(frame * FRAME_BYTES for frame in frames))
    return quiet


def test_the_stretch_before_a_sound_is_known() -> None:
    assert heard("s" + "q" * 50 + "sss").before(1020) == (20, 1020)
    assert heard("q" * 50 + "sss").before(1100) == (0, 1000)


@pytest.mark.parametrize("together", [2, 4, 10])
@pytest.mark.parametrize("line", ["s" + "q" * 50 + "sss", "q" * 39 + "s" * 5, "sqqs" * 9 + "q" * 30 + "s"])
def test_frames_that_came_together_tell_the_same(line: str, together: int) -> None:
    at_ms = FRAME_MS * len(line.rstrip("s"))
    assert heard(line, together=together).before(at_ms) == heard(line).before(at_ms) is not None


def test_a_sound_with_samples_near_zero_is_no_quiet() -> None:
    quiet = heard("q" * 50)
    quiet.add(1000, b"\x10" * (FRAME_BYTES - 1) + SILENCE)
    quiet.add(1020, SILENCE + b"\x10" * (FRAME_BYTES - 1))
    assert quiet.before(1040) == (0, 1000)


def test_a_stretch_that_was_over_long_before_means_nothing() -> None:
    assert heard("q" * 50 + "s" * 20).before(1300) == (0, 1000)
    assert heard("q" * 50 + "s" * 20).before(1320) is None


def test_only_the_newest_stretch_counts() -> None:
    assert heard("q" * 50 + "s" * 5 + "q" * 5 + "s").before(1200) == (1100, 1200)


def test_lost_frames_may_have_been_sounds() -> None:
    assert heard("q" * 50 + "s", lost=20).before(1000) == (420, 1000)


def test_a_line_that_was_never_quiet_or_is_new_tells_nothing() -> None:
    assert heard("sss").before(60) is None
    assert heard("qqq").before(60) is None
    quiet = heard("q" * 50 + "s")
    quiet.clear()
    assert quiet.before(1000) is None
