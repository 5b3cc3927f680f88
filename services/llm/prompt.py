"""What the model is told before the conversation."""

from services.llm.memory import CUT_SHORT
from shared.agents import AgentProfile


def system_prompt(profile: AgentProfile) -> str:
    """The agent's own prompt, who it speaks for, how long a reply may be, and how to read the conversation."""
    speaks_for = f" of {profile.company}" if profile.company else ""
    return (
        f"{profile.prompt.strip()}\n"
        f"You are the agent {profile.name!r}{speaks_for}, and you are speaking on the phone. "
        f"Keep every reply under {profile.llm.max_reply_chars} characters; it is read aloud as it is.\n"
        f'A reply of yours that ends with "{CUT_SHORT}" was interrupted there: the caller did not hear the rest '
        "and does not know it. Never write this mark yourself. "
        'Where the caller\'s turn says "keys 1 2 3", the caller pressed these keys of the phone.'
    )
