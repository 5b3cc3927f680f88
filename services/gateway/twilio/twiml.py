"""TwiML: what Twilio shall do with a call.

Source: Twilio, "TwiML for Programmable Voice". Verbs after `<Connect>` run when the stream's socket closes,
so a call whose gateway died asks the same webhook again and finds another gateway.
"""

from collections.abc import Mapping
from xml.etree.ElementTree import Element, SubElement, tostring

CONTENT_TYPE = "application/xml"


def _document(response: Element) -> bytes:
    return b'<?xml version="1.0" encoding="UTF-8"?>' + tostring(response)


def connect(stream_url: str, parameters: Mapping[str, str], again_url: str) -> bytes:
    """Stream the call's audio to `stream_url`; when that ends, ask `again_url`."""
    response = Element("Response")
    stream = SubElement(SubElement(response, "Connect"), "Stream", url=stream_url)
    for name, value in parameters.items():
        SubElement(stream, "Parameter", name=name, value=value)
    SubElement(response, "Redirect", method="POST").text = again_url
    return _document(response)


def say_and_hang_up(sentence: str) -> bytes:
    """Speak `sentence` with the carrier's own voice and end the call."""
    response = Element("Response")
    SubElement(response, "Say").text = sentence
    SubElement(response, "Hangup")
    return _document(response)


def play_and_hang_up(sound_url: str) -> bytes:
    """Play a file and end the call."""
    response = Element("Response")
    SubElement(response, "Play").text = sound_url
    SubElement(response, "Hangup")
    return _document(response)


def wait(again_url: str, seconds: int, sound_url: str = "", sentence: str = "") -> bytes:
    """Play a file and speak a sentence, if given; be silent for some seconds, then ask `again_url`."""
    response = Element("Response")
    if sound_url:
        SubElement(response, "Play").text = sound_url
    if sentence:
        SubElement(response, "Say").text = sentence
    SubElement(response, "Pause", length=str(seconds))
    SubElement(response, "Redirect", method="POST").text = again_url
    return _document(response)


def dial(number: str) -> bytes:
    """Connect the caller with another number; the call ends with that conversation."""
    response = Element("Response")
    SubElement(response, "Dial").text = number
    SubElement(response, "Hangup")
    return _document(response)


def reject() -> bytes:
    """Do not answer: the caller hears the busy tone, and nobody is billed."""
    response = Element("Response")
    SubElement(response, "Reject", reason="busy")
    return _document(response)


def hang_up() -> bytes:
    """End the call."""
    response = Element("Response")
    SubElement(response, "Hangup")
    return _document(response)
