"""The settings that point a service at the stand-ins."""

from simulator.standins.behaviour import Behaviour


def vendor_env(url: str, api_key: str = "") -> dict[str, str]:
    """Environment variables for all services; `url` is the stand-ins' base, without a slash at its end."""
    key = api_key or Behaviour().api_key
    return {
        "STT_PROVIDER": "deepgram",
        "LLM_PROVIDER": "openai",
        "TTS_PROVIDER": "elevenlabs",
        "DEEPGRAM_BASE_URL": url,
        "OPENAI_BASE_URL": f"{url}/v1",
        "ELEVENLABS_BASE_URL": url,
        "DEEPGRAM_API_KEY": key,
        "OPENAI_API_KEY": key,
        "ELEVENLABS_API_KEY": key,
    }
