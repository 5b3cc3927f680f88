"""The result of all faults, for people, for the documentation and for machines. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from simulator.chaos.trial import Trial
from simulator.commands.report import percentile

HEAD = ("fault", "calls", "hit", "went on", "words lost", "longest silence ms p50 / p95 / max", "wrong or double", "s")
BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
"""What the table of a document stands between."""
_PERCENTILES = (50, 95, 100)


def silences(trial: Trial) -> list[float]:
    """The percentiles 50, 95 and 100 over the calls that were hit, in ms; empty when none was."""
    values = [call.silence_ms for call in trial.hit]
    return [percentile(values, percent) for percent in _PERCENTILES] if values else []


def words_lost(trial: Trial) -> str:
    """The caller's and the agent's, of all calls."""
    caller = sum(call.caller_words_lost for call in trial.calls)
    agent = sum(call.agent_words_lost for call in trial.calls)
    return f"{caller + agent} ({caller} + {agent})" if caller + agent else "0"


def row(trial: Trial) -> tuple[str, ...]:
    """One line of the table."""
    return (
        trial.name,
        str(len(trial.calls)),
        str(len(trial.hit)),
        str(trial.went_on) + ("" if not trial.failures else " (failed)"),
        words_lost(trial),
        " / ".join(f"{value:.0f}" for value in silences(trial)) or "-",
        str(sum(call.wrong for call in trial.calls)),
        f"{trial.seconds:.0f}",
    )


def text(trials: Sequence[Trial]) -> list[str]:
    """The table for a terminal."""
    rows = [HEAD, *(row(trial) for trial in trials)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]


def markdown(trials: Sequence[Trial]) -> list[str]:
    """The table for a document."""
    rows = [HEAD, ("---", *("---:" for _ in HEAD[1:])), *(row(trial) for trial in trials)]
    return [f"| {' | '.join(cells)} |" for cells in rows]


def placed(document: str, table: Sequence[str]) -> str:
    """`document` with `table` between its two marks. Raises ValueError when it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} … {END} in it")
    return "\n".join([before + BEGIN, *table, END + behind])


def machine(trial: Trial) -> dict[str, object]:
    """One fault as JSON."""
    return {
        "fault": trial.name,
        "right": trial.right,
        "calls": len(trial.calls),
        "hit": len(trial.hit),
        "went_on": trial.went_on,
        "words_lost": sum(call.words_lost for call in trial.calls),
        "silence_ms": dict(zip(("p50", "p95", "max"), (round(value) for value in silences(trial)), strict=False)),
        "wrong_or_double": sum(call.wrong for call in trial.calls),
        "seconds": round(trial.seconds, 1),
        "failures": trial.failures,
        "notes": trial.notes,
        "verdicts": [asdict(call) for call in trial.calls],
    }


def remarks(trial: Trial) -> Iterator[str]:
    """What was not right, and what else there is to know, line by line."""
    for failure in trial.failures:
        yield f"{trial.name}: {failure}"
    for note in trial.notes:
        yield f"{trial.name}: {note}"
    for number, call in enumerate(trial.calls):
        for reason in call.reasons:
            yield f"{trial.name}: call {number} (hit in phase {call.phase}): {reason}"
