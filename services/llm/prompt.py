"""What the model is told before the conversation."""

from shared.agents import AgentProfile


def system_prompt(profile: AgentProfile) -> str:
    """The agent's own prompt, who it speaks for, and how long a reply may be."""
    speaks_for = f" of {profile.company}" if profile.company else ""
    return (
        f"{profile.prompt.strip()}\n"
        f"You are the agent {profile.name!r}{speaks_for}, and you are speaking on the phone. "
        f"Keep every reply under {profile.llm.max_reply_chars} characters; it is read aloud as it is."
    )
