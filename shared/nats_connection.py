"""One connection to the broker's servers: how it is made, kept and watched."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nats.errors
import structlog
from nats.aio.client import Client
from pydantic import SecretStr

from shared.settings import Settings

log = structlog.get_logger()

_CONNECT_S = 5.0
_KEPT_UP: dict[str, Any] = {
    "max_reconnect_attempts": -1,
    # Between two attempts at the same server; another one is tried at once.
    "reconnect_time_wait": 0.1,
    "connect_timeout": 1,
    # A server that hangs is left after three seconds.
    "ping_interval": 1,
    "max_outstanding_pings": 2,
}
_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')
_DENIALS_TOLD = 200
"""Subjects that are named in the log when they are refused; more of them say nothing more."""


class WrongTlsFiles(ValueError):
    """The files that shall secure the connection cannot be used; the message names the settings and the reason."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker's servers are, and who this process is to them."""

    urls: str
    """Comma-separated; `tls://` asks for TLS, and so does a CA file."""
    user: str = ""
    password: SecretStr = field(default_factory=lambda: SecretStr(""))
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    replicas: int = 1
    """Copies that the broker makes of what it keeps."""

    @classmethod
    def at(cls, urls: str) -> "Broker":
        """The one of `urls` alone, which may name a user: `nats://user:password@host:port`."""
        parts = [urlsplit(url.strip()) for url in urls.split(",")]
        for part in parts:
            if part.username and part.password:
                # Servers that a cluster makes known by itself have URLs without a user.
                bare = [known._replace(netloc=known.netloc.rpartition("@")[2]).geturl() for known in parts]
                return cls(",".join(bare), unquote(part.username), SecretStr(unquote(part.password)))
        return cls(urls)

    @classmethod
    def of(cls, settings: Settings) -> "Broker":
        """The one of the settings."""
        told = cls.at(settings.nats_url)
        return cls(
            told.urls,
            settings.nats_user or told.user,
            settings.nats_password if settings.nats_user else told.password,
            settings.nats_ca_file,
            settings.nats_cert_file,
            settings.nats_key_file,
            settings.nats_replicas,
        )

    @property
    def makes_stores(self) -> bool:
        """Whether this user may make streams and buckets: the gateway's, and anybody where there are no users."""
        return self.user in ("", "gateway")

    @property
    def inbox(self) -> str:
        """The subject prefix of the answers for this user; `broker/nats.conf` keeps others from it."""
        return f"_INBOX_{self.user}" if self.user else "_INBOX"

    @property
    def wants_tls(self) -> bool:
        """Whether the settings ask for TLS."""
        return self.ca_file is not None or self.cert_file is not None or "tls://" in self.urls

    def tls(self) -> ssl.SSLContext | None:
        """What checks the broker's certificate, or None without TLS. Raises WrongTlsFiles."""
        if not self.wants_tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as error:
            raise WrongTlsFiles(f"NATS_CA_FILE, NATS_CERT_FILE, NATS_KEY_FILE: {error}") from error
        return context


def explained(error: Exception) -> str:
    """The error for a log: without what a URL may hold of a password."""
    return re.sub(r"//[^@/\s]*@", "//", str(error) or repr(error))


class _Watch:
    """What becomes of one connection; each trouble is told once until it is back."""

    def __init__(
        self, broker: Broker, client: Client, on_lost: Callable[[], None], on_back: Callable[[], None]
    ) -> None:
        self._broker = broker
        self._client = client
        self._on_lost = on_lost
        self._on_back = on_back
        self._told: set[str] = set()
        self._denied: set[tuple[str, str]] = set()
        self.tries_left: int | None = len(broker.urls.split(","))
        """Servers that are still to be tried; None once there was a connection."""

    async def failed(self, error: Exception) -> None:
        if (denied := _DENIED.search(str(error))) is not None:
            self._deny(denied[1], re.sub(r"^call\.[^.]+\.", "call.*.", denied[2]))
        elif self.tries_left is not None:
            self.tries_left -= 1
            if self.tries_left <= 0:
                # Left alone, the client would go round the servers for ever without a word.
                raise self._hung_up() if isinstance(error, ConnectionError) and self._greeted else error
        else:
            self._tell(explained(error))
            if self._client.is_connecting and self._client._transport is not None:
                # The client tries the next server without closing what it has of this one.
                self._client._transport.close()

    def _tell(self, trouble: str) -> None:
        if trouble not in self._told:
            self._told.add(trouble)
            log.warning("bus_error", error=trouble)

    @property
    def _greeted(self) -> bool:
        return bool(self._client._server_info)

    @staticmethod
    def _hung_up() -> nats.errors.Error:
        # A server that refuses a user says so and hangs up; the second may be seen before the first.
        return nats.errors.Error("the broker hung up: are NATS_USER and NATS_PASSWORD right?")

    def check(self) -> None:
        """Raises nats.errors.Error when the client takes a connection that was hung up for a good one."""
        if not self._client.is_connected:
            raise self._hung_up()
        self.tries_left = None

    def _deny(self, action: str, subject: str) -> None:
        if (action, subject) not in self._denied and len(self._denied) < _DENIALS_TOLD:
            self._denied.add((action, subject))
            log.error("bus_permission_denied", action=action, subject=subject)

    async def lost(self) -> None:
        if not (self._client.is_draining or self._client.is_closed):
            log.warning("bus_disconnected")
            self._on_lost()

    async def back(self) -> None:
        self._told.clear()
        log.info("bus_reconnected")
        self._on_back()

    async def leave_lame_duck(self) -> None:
        log.info("bus_lame_duck")
        await self._client.force_reconnect()

    def user(self) -> str:
        # Asked for after the TLS handshake: a server that offers none must not be told the password.
        if self._broker.wants_tls and not self._client._server_info.get("tls_required"):
            raise nats.errors.Error("the broker offers no TLS")
        return self._broker.user


async def _discard(client: Client) -> None:
    # After a TLS handshake that failed, the client waits for ever for the end of its connection.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await client.close()


async def open_client(
    broker: Broker, name: str, on_lost: Callable[[], None], on_back: Callable[[], None], **options: Any
) -> Client:
    """Connect to the first server that answers, each tried once; then stay connected whatever happens.

    `on_lost` and `on_back` are called when the connection is lost and when it is found again, on any server.
    Raises OSError, TimeoutError, nats.errors.Error; WrongTlsFiles.
    """
    client = Client()
    watch = _Watch(broker, client, on_lost, on_back)
    try:
        async with asyncio.timeout(_CONNECT_S):
            await client.connect(
                broker.urls.split(","),
                name=name,
                user=watch.user if broker.user else None,
                password=broker.password.get_secret_value() if broker.user else None,
                inbox_prefix=broker.inbox,
                tls=broker.tls(),
                error_cb=watch.failed,
                disconnected_cb=watch.lost,
                reconnected_cb=watch.back,
                lame_duck_mode_cb=watch.leave_lame_duck,
                **_KEPT_UP,
                **options,
            )
            watch.check()
    except BaseException:
        await _discard(client)
        raise
    return client
