"""How the stand-in for OpenAI fails, where its answer would be or in the middle of it."""

import asyncio
import json
from itertools import cycle

from aiohttp import web

from simulator.standins.behaviour import Behaviour

_RETRY_AFTER_S = 1
_ERRORS = {
    "429": ("Rate limit reached for requests per minute. Please try again in 1s.", "requests", "rate_limit_exceeded"),
    "500": ("The server had an error while processing your request. Sorry about that!", "server_error", None),
}
"""Source: OpenAI API reference, "Error codes": message, type and code by status."""
_NO_ANSWERS = (("text/html", "<html>It works!</html>"), ("text/event-stream", "Hello?\n\n"), ("application/json", "{"))
_NO_CHUNKS = ("data: {oops\n\n", "data: [1, 2]\n\n", 'data: {"choices": [7]}\n\n')


class Faults:
    """Strikes as `Behaviour.llm_fault` wants at that moment: requests, and streams in the middle."""

    def __init__(self, behaviour: Behaviour) -> None:
        """`behaviour` may change at any time."""
        self._behaviour = behaviour
        self._no_answers = cycle(_NO_ANSWERS)
        self._no_chunks = cycle(_NO_CHUNKS)

    def strikes(self, tokens: int) -> bool:
        """Whether an answer fails behind its first `tokens` tokens; 0 is instead of an answer."""
        return self._behaviour.llm_fault != "" and tokens >= self._behaviour.llm_fault_tokens

    async def instead(self, request: web.Request) -> web.StreamResponse:
        """What a request gets; nothing at all when the vendor hangs."""
        match self._behaviour.llm_fault:
            case "hang":
                await asyncio.Event().wait()
            case "drop":
                _abort(request)
            case "garbage":
                kind, text = next(self._no_answers)
                return web.Response(text=text, content_type=kind)
            case "429" | "500" as status:
                headers = {"Retry-After": str(_RETRY_AFTER_S)} if status == "429" else None
                return web.json_response(_error(status), status=int(status), headers=headers)
        return web.Response()

    async def amid(self, request: web.Request, response: web.StreamResponse) -> None:
        """End a stream that has begun; one that hangs ends when the client goes away."""
        match self._behaviour.llm_fault:
            case "hang":
                await asyncio.Event().wait()
            case "drop":
                _abort(request)
            case "garbage":
                await response.write(next(self._no_chunks).encode())
            case "429" | "500" as status:
                await response.write(f"data: {json.dumps(_error(status))}\n\n".encode())


def _error(status: str) -> dict[str, object]:
    message, kind, code = _ERRORS[status]
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
