"""Configuration: environment variables and `.env`, read once when a process starts."""

import re
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _without_slash(url: str) -> str:
    HttpUrl(url) if url else None
    return url.rstrip("/")


def _servers(urls: str) -> str:
    for url in urls.split(","):
        if not re.fullmatch(r"(nats|tls|ws|wss)://[^\s/]+/?", url.strip()):
            raise ValueError("nats://host:port expected; several servers are separated by commas")
    return urls


ServerUrls = Annotated[str, AfterValidator(_servers)]
BaseUrl = Annotated[str, AfterValidator(_without_slash)]


def _networks(addresses: str) -> str:
    for each in addresses.split(",") if addresses else ():
        try:
            ip_network(each.strip())
        except ValueError:
            raise ValueError("addresses or networks expected (10.0.0.0/8), separated by commas") from None
    return addresses


Networks = Annotated[str, AfterValidator(_networks)]


class Settings(BaseSettings):
    """Every variable of every service; `.env.example` documents each."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    port: int = Field(default=8080, ge=0, le=65535)
    host: str = "0.0.0.0"
    public_url: BaseUrl = ""
    trusted_proxies: Networks = ""
    nats_url: ServerUrls = "nats://localhost:4222"
    nats_user: str = ""
    nats_password: SecretStr = SecretStr("")
    nats_ca_file: Path | None = None
    nats_cert_file: Path | None = None
    nats_key_file: Path | None = None
    nats_replicas: int = Field(default=1, ge=1, le=5)
    agents_file: Path = Path("agents.yaml")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    twilio_account_sid: str = ""
    twilio_auth_token: SecretStr = SecretStr("")
    allow_unsigned: bool = False
    api_key: SecretStr = SecretStr("")
    calls_per_minute_caller: int = Field(default=10, ge=0)
    calls_per_minute_source: int = Field(default=600, ge=0)

    stt_provider: Literal["offline", "deepgram"] | None = None
    llm_provider: Literal["offline", "openai"] | None = None
    tts_provider: Literal["offline", "elevenlabs"] | None = None
    deepgram_api_key: SecretStr = SecretStr("")
    openai_api_key: SecretStr = SecretStr("")
    elevenlabs_api_key: SecretStr = SecretStr("")
    deepgram_base_url: BaseUrl = "https://api.deepgram.com"
    openai_base_url: BaseUrl = "https://api.openai.com/v1"
    elevenlabs_base_url: BaseUrl = "https://api.elevenlabs.io"

    provider_connect_s: float = Field(default=2.5, gt=0, le=14)
    provider_answer_s: float = Field(default=4.0, gt=0, le=60)
    breaker_failures: int = Field(default=3, ge=1, le=1000)
    breaker_open_s: float = Field(default=30.0, gt=0, le=3600)
    breaker_successes: int = Field(default=2, ge=1, le=1000)

    max_calls: int = Field(default=25, ge=1, le=10000)
    shed_lag_ms: int = Field(default=150, ge=0, le=10000)
    busy_action: Literal["say", "queue", "redirect"] = "say"
    busy_number: str = Field(default="", pattern=r"^(\+[1-9][0-9]{3,14})?$")
    queue_limit: int = Field(default=20, ge=1, le=1000)
    queue_wait_s: float = Field(default=180.0, gt=0, le=3600)
    lease_timeout_s: float = Field(default=3.0, gt=0, le=14)
    drain_timeout_s: float = Field(default=20.0, gt=0, le=3600)
    hang_exit_s: float = Field(default=15.0, ge=0, le=3600)
    max_call_s: int = Field(default=3600, ge=10, le=86400)

    @model_validator(mode="after")
    def _keys_for_chosen_providers(self) -> "Settings":
        for choice, name, key in (
            (self.stt_provider, "deepgram", self.deepgram_api_key),
            (self.llm_provider, "openai", self.openai_api_key),
            (self.tts_provider, "elevenlabs", self.elevenlabs_api_key),
        ):
            if choice == name and not key.get_secret_value():
                raise ValueError(f"{name.upper()}_API_KEY: needed because the provider {name!r} is chosen")
        return self

    @model_validator(mode="after")
    def _number_to_redirect_to(self) -> "Settings":
        if self.busy_action == "redirect" and not self.busy_number:
            raise ValueError("BUSY_NUMBER: needed because BUSY_ACTION is 'redirect'")
        return self

    @property
    def stt(self) -> str:
        """The STT provider of profiles that name none: the vendor's when its key is here."""
        return self.stt_provider or ("deepgram" if self.deepgram_api_key.get_secret_value() else "offline")

    @property
    def llm(self) -> str:
        """The LLM provider of profiles that name none."""
        return self.llm_provider or ("openai" if self.openai_api_key.get_secret_value() else "offline")

    @property
    def tts(self) -> str:
        """The TTS provider of profiles that name none."""
        return self.tts_provider or ("elevenlabs" if self.elevenlabs_api_key.get_secret_value() else "offline")


def explain(error: ValidationError) -> str:
    """One line that names the variable and what is wrong with it, without its value."""
    first = error.errors()[0]
    text = first["msg"].removeprefix("Value error, ")
    variable = str(first["loc"][0]).upper() if first["loc"] else ""
    return f"{variable}: {text}" if variable else text


def stop(message: str) -> NoReturn:
    """End the process with one line on stderr and exit status 2."""
    print(f"trunkline: {message}", file=sys.stderr)
    raise SystemExit(2)


def load() -> Settings:
    """The settings of this process; a wrong value stops it with one line."""
    try:
        return Settings()
    except ValidationError as error:
        stop(explain(error))
