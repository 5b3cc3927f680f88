"""What is read of Deepgram's messages, beside the SDK's models."""

import json
from typing import Any

import msgspec
import pytest
import structlog.testing
from deepgram.listen.v1.types.listen_v1error import ListenV1Error
from deepgram.listen.v1.types.listen_v1results_channel import ListenV1ResultsChannel
from deepgram.listen.v1.types.listen_v1results_channel_alternatives_item import ListenV1ResultsChannelAlternativesItem
from deepgram.listen.v1.types.listen_v1results_channel_alternatives_item_words_item import (
    ListenV1ResultsChannelAlternativesItemWordsItem,
)
from deepgram.listen.v1.types.listen_v1utterance_end import ListenV1UtteranceEnd
from deepgram.listen.v2.types.listen_v2turn_info_words_item import ListenV2TurnInfoWordsItem
from deepgram.listen.v2.types.listen_v2warning import ListenV2Warning
from pydantic import BaseModel

from services.stt.providers import deepgram_messages as own
from services.stt.providers.deepgram_sdk import ListenV1Results, ListenV2TurnInfo


@pytest.mark.parametrize(
    ("struct", "model"),
    [
        (own.Results, ListenV1Results),
        (own.Channel, ListenV1ResultsChannel),
        (own.Alternative, ListenV1ResultsChannelAlternativesItem),
        (own.NovaWord, ListenV1ResultsChannelAlternativesItemWordsItem),
        (own.UtteranceEnd, ListenV1UtteranceEnd),
        (own.TurnInfo, ListenV2TurnInfo),
        (own.FluxWord, ListenV2TurnInfoWordsItem),
        (own.Error, ListenV1Error),
        (own.Caution, ListenV2Warning),
    ],
)
def test_every_field_is_one_of_the_vendors(struct: type[msgspec.Struct], model: type[BaseModel]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(struct)} <= model.model_fields.keys()


def test_an_interim_transcript_may_lack_what_is_optional() -> None:
    word = {"word": "hi", "start": 0, "end": 0.2, "confidence": 1}
    message = {"type": "Results", "start": 0, "duration": 1, "channel": {"alternatives": [{"transcript": "hi"}]}}
    heard = own.read(json.dumps(message))
    assert isinstance(heard, own.Results)
    assert (heard.channel.alternatives[0].transcript, heard.is_final) == ("hi", None)
    message["channel"] = {"alternatives": [{"transcript": "hi", "confidence": 0.5, "words": [word]}]}
    heard = own.read(json.dumps(message).encode())
    assert isinstance(heard, own.Results)
    assert heard.channel.alternatives[0].words[0].end == 0.2


@pytest.mark.parametrize("message", ["", "{", "\x00", b"\xff\xfe", "[]", '{"type": "Results"}', '{"type": "Surprise"}'])
def test_what_is_not_understood_is_skipped_and_told(message: Any) -> None:
    with structlog.testing.capture_logs() as logs:
        assert own.read(message) is None
    assert [line["event"] for line in logs] == ["deepgram_message_skipped"]
