"""Writes the subject table of README.md from the code: `python -m tools.subject_table`."""

from pathlib import Path

from pydantic import BaseModel

from shared import subjects
from shared.messages import MESSAGES, AudioIn, AudioOut, Message
from shared.messages.lease import LeaseRequest
from shared.messages.worker import Heartbeat

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- subjects: made by tools/subject_table.py -->", "<!-- /subjects -->"


def _row(subject: str, sender: str, receiver: str, fields: str) -> str:
    return f"| `{subject}` | {sender} → {receiver} | {fields} |"


def _fields(model: type[BaseModel]) -> str:
    return ", ".join(name for name in model.model_fields if name not in Message.model_fields)


def render() -> str:
    """The table as Markdown."""
    rows = [
        "| subject | from → to | body |",
        "|---|---|---|",
        _row("call.<id>.audio.in", "gateway", "stt, speech", f"msgpack array: {', '.join(AudioIn._fields)}"),
        _row("call.<id>.audio.out", "tts, speech", "gateway", f"msgpack array: {', '.join(AudioOut._fields)}"),
    ]
    for suffix, message in MESSAGES.items():
        rows.append(_row(f"call.<id>.{suffix}", ", ".join(message.sender), message.receiver, _fields(message)))
    rows += [
        _row(subjects.lease("<stage>"), "gateway", "one worker (queue group)", ", ".join(LeaseRequest.model_fields)),
        _row(subjects.lease_of("<stage>", "<worker>"), "gateway", "that worker", "the same"),
        _row(
            subjects.knock("<stage>", "<worker>"),
            "gateway",
            "that worker (request)",
            "answers with nothing: it is there",
        ),
        _row(subjects.heartbeat("<stage>", "<worker>"), "all", "gateways, workers", ", ".join(Heartbeat.model_fields)),
        _row(subjects.LIVE_CALLS, "anyone", "one gateway (request)", "answers with the live calls as a JSON array"),
    ]
    return "\n".join(rows)


def update(readme: str) -> str:
    """`readme` with the table as the code has it."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{render()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(update(README.read_text()))
