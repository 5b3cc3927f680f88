"""What a service says at `/ready`, and whether a whole system stands behind it."""

import aiohttp

State = dict[str, object]
_WITHIN_S = 2.0


async def asked(http: aiohttp.ClientSession, url: str) -> State:
    """What the service at the base URL `url` says of itself; empty when it does not answer."""
    try:
        async with http.get(f"{url}/ready", timeout=aiohttp.ClientTimeout(total=_WITHIN_S)) as response:
            state: State = await response.json()
            return state
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return {}


def whole(state: State) -> bool:
    """Whether a call can be held: a gateway is ready without workers too, and names the stages that it misses."""
    return state.get("ready") is True and not state.get("missing")
