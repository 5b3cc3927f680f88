"""How greetings are kept: their keys and their form."""

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from services.tts.cutting import Cut
from services.tts.greetings import decode, encode, key_of
from shared.agents import AgentProfile, TtsProfile
from shared.audio import bytes_of

GREETING = "Good day! How can I help?"
RECORDING = (Cut(b"\x01" * bytes_of(200), "Good day! "), Cut(b"\x02" * 100, "How can I help?"), Cut(b"", ""))


def test_a_key_tells_nothing_of_the_text_and_differs_with_all_that_sounds() -> None:
    agents = [
        AgentProfile(name="a", greeting="Hi"),
        AgentProfile(name="a", greeting="Hi."),
        *(AgentProfile(name="a", greeting="Hi", tts=tts) for tts in (TtsProfile(voice="x"), TtsProfile(model="x"))),
        AgentProfile(name="a", greeting="Hi", tts=TtsProfile(speed=1.1)),
    ]
    keys = {key_of(provider, agent) for agent in agents for provider in ("offline", "elevenlabs")}
    assert len(keys) == 2 * len(agents)
    assert all(len(key) == 64 and int(key, 16) for key in keys)
    assert key_of("offline", AgentProfile(name="b", greeting="Hi", prompt="Else")) in keys


@given(st.binary(max_size=60) | st.recursive(st.none() | st.binary() | st.text(), st.lists).map(msgpack.packb))
def test_no_value_in_the_store_breaks_a_worker(value: bytes) -> None:
    recording = decode(value, GREETING)
    assert recording is None or "".join(cut.text for cut in recording) == GREETING


def test_a_recording_is_read_as_it_was_written() -> None:
    assert decode(encode(RECORDING), GREETING) == RECORDING
    too_long = (Cut(b"\x01" * bytes_of(501), GREETING),)
    assert decode(encode(too_long), GREETING) is None
