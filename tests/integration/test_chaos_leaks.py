"""Calls that end in every way: the short version of `make leaks`."""

from pathlib import Path

from simulator.chaos.leaks import audit


async def test_nothing_is_left_of_calls_that_end_in_every_way(tmp_path: Path) -> None:
    result = await audit(14, 14, 1, tmp_path, lambda text: None)
    assert result.failures == []
    assert result.left == []
