"""What a webhook tells the carrier to do: the TwiML verbs that this product uses.

Source: Twilio's TwiML for Programmable Voice.
"""

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree


class BadTwiml(ValueError):
    """The document is not TwiML, or asks for what the simulator does not do."""


@dataclass(frozen=True, slots=True)
class Stream:
    """`<Connect><Stream url="…"><Parameter …/></Stream></Connect>`."""

    url: str
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Say:
    """Speak a text with the carrier's own voice."""

    text: str


@dataclass(frozen=True, slots=True)
class Play:
    """Play a file."""

    url: str


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect the caller with another number."""

    number: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go on with the TwiML of another webhook; an empty `url` is the same one again."""

    url: str
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the call."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Do not answer the call."""

    reason: str = "rejected"


Verb = Stream | Say | Play | Dial | Pause | Redirect | Hangup | Reject


def parse(document: str) -> list[Verb]:
    """The verbs of a TwiML document in order. Raises BadTwiml."""
    try:
        # The only document read is that of the gateway under test.
        root = ElementTree.fromstring(document)  # noqa: S314
    except ElementTree.ParseError as error:
        raise BadTwiml(f"not XML: {error}") from error
    if root.tag != "Response":
        raise BadTwiml(f"<Response> expected, found <{root.tag}>")
    return [_verb(element) for element in root]


def _verb(element: ElementTree.Element) -> Verb:
    text = (element.text or "").strip()
    match element.tag:
        case "Connect":
            return _connect(element)
        case "Say":
            return Say(" ".join("".join(element.itertext()).split()))
        case "Play":
            return Play(text)
        case "Dial":
            return _dial(element)
        case "Pause":
            return _pause(element)
        case "Redirect":
            return Redirect(text, element.get("method", "POST").upper())
        case "Hangup":
            return Hangup()
        case "Reject":
            return Reject(element.get("reason", "rejected"))
        case tag:
            raise BadTwiml(f"the simulator does not do <{tag}>")


def _dial(element: ElementTree.Element) -> Dial:
    number = (element.text or "").strip()
    if len(element) or not re.fullmatch(r"\+[1-9][0-9]{3,14}", number):
        raise BadTwiml(f"<Dial>{number}: an E.164 number expected")
    return Dial(number)


def _pause(element: ElementTree.Element) -> Pause:
    length = element.get("length", "1")
    if not length.isdecimal():
        raise BadTwiml(f'<Pause length="{length}">: whole seconds expected')
    return Pause(float(length))


def _connect(element: ElementTree.Element) -> Stream:
    nouns = [child.tag for child in element]
    if nouns != ["Stream"]:
        raise BadTwiml(f"<Connect> takes one <Stream>, found {nouns or 'nothing'}")
    stream = element[0]
    url = stream.get("url", "")
    if not url.startswith(("ws://", "wss://")):
        raise BadTwiml(f"<Stream url={url!r}>: ws:// or wss:// expected")
    if "?" in url:
        raise BadTwiml(f"<Stream url={url!r}>: the carrier passes no query string; use <Parameter>")
    return Stream(url, dict(_parameter(child) for child in stream))


def _parameter(element: ElementTree.Element) -> tuple[str, str]:
    name, value = element.get("name"), element.get("value")
    if element.tag != "Parameter" or name is None or value is None:
        raise BadTwiml(f"<Stream> takes <Parameter name value>, found <{element.tag}>")
    return name, value
