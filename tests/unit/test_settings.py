"""Settings: every variable documented, every wrong value named in one line."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from shared.settings import Settings, explain

ROOT = Path(__file__).parents[2]


def documented() -> set[str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return {line.split("=")[0] for line in lines if re.match(r"[A-Z_]+=", line)}


def test_env_example_documents_exactly_the_settings() -> None:
    assert documented() == {name.upper() for name in Settings.model_fields}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of this machine, and no `.env`, reaches the settings."""
    for name in documented():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_env_example_holds_the_defaults(tmp_path: Path) -> None:
    defaults = Settings()
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert Settings() == defaults


def test_a_key_chooses_its_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Settings().stt, Settings().llm, Settings().tts) == ("offline", "offline", "offline")
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    assert Settings().stt == "deepgram"
    monkeypatch.setenv("STT_PROVIDER", "offline")
    assert Settings().stt == "offline"


def test_no_secret_is_shown() -> None:
    settings = Settings(twilio_auth_token=SecretStr("hush"), openai_api_key=SecretStr("hush"))
    assert "hush" not in repr(settings)


@pytest.mark.parametrize("proxies", ["", "10.0.0.1", "10.0.0.0/8, 192.168.1.7,fd00::/8"])
def test_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch, proxies: str) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", proxies)
    assert Settings().trusted_proxies == proxies


@pytest.mark.parametrize("proxies", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.1,"])
def test_anything_else_is_named(monkeypatch: pytest.MonkeyPatch, proxies: str) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", proxies)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain(caught.value).startswith("TRUSTED_PROXIES: addresses or networks expected")
