"""The broker keeps what the services ask for, as long as they ask for it."""

from services.gateway import admission, calls
from services.llm import store
from services.tts import greetings
from shared import breakers
from shared.stores import BUCKETS, OBJECTS


def test_the_stores_are_those_that_the_services_use() -> None:
    assert BUCKETS == {
        calls.BUCKET: calls.TTL_S,
        admission.BUCKET: admission._TTL_S,
        store.BUCKET: store.KEEP_S,
        breakers.BUCKET: breakers._KEEP_S,
    }
    assert OBJECTS == {greetings.STORE: greetings.KEEP_S}
