"""The damage itself: each function makes a strike, which returns when the fault is over as far as it ever is."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from simulator.chaos.site import NotStruck, Site

Strike = Callable[[Site], Awaitable[None]]

_FROZEN_S = 5.0
"""Long enough to be taken for dead, and the calls to be elsewhere when it wakes."""
_BROKER_DOWN_S = 2.0
_BROKER_PAUSED_S = 1.5
_PROVIDER_S = 8.0
"""About the time of a line with its answer: every call meets it."""
_DRAINED_WITHIN_S = 30.0
_READY_WITHIN_S = 10.0


def kill(name: str) -> Strike:
    """SIGKILL one process of the service, which stays away."""

    async def strike(site: Site) -> None:
        victim = site.victim(name)
        victim.send(signal.SIGKILL)
        await victim.ended(5)

    return strike


async def kill_node(site: Site) -> None:
    """SIGKILL one broker of the cluster, which stays away. All calls go through the cluster."""
    await site.ring.kill("nats")


def freeze(name: str) -> Strike:
    """SIGSTOP one process of the service; it wakes with all it missed."""

    async def strike(site: Site) -> None:
        victim = site.victim(name)
        victim.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(_FROZEN_S)
        finally:
            victim.send(signal.SIGCONT)

    return strike


async def _drained(site: Site, name: str, index: int) -> None:
    process = site.ring.find(name, index)
    began = time.monotonic()
    process.send(signal.SIGTERM)
    if not await process.ended(_DRAINED_WITHIN_S):
        raise NotStruck(f"{process.label} still ran {_DRAINED_WITHIN_S:g} s after SIGTERM")
    site.notes.append(f"{process.label} drained in {time.monotonic() - began:.1f} s")
    if process.status != 0:
        raise NotStruck(f"{process.label} ended with status {process.status}\n{process.tail()}")


def drain(name: str) -> Strike:
    """SIGTERM one process of the service and wait for its end."""

    async def strike(site: Site) -> None:
        await _drained(site, name, site.victim(name).index)

    return strike


async def roll(site: Site) -> None:
    """Replace every process of every service by another one, one after the other."""
    for name in site.needs.counts:
        for process in site.running(name):
            await site.ring.add(name)
            await _drained(site, name, process.index)


async def restart_broker(site: Site) -> None:
    """SIGKILL the only broker, and start it again after a while."""
    await site.ring.kill("nats")
    await asyncio.sleep(_BROKER_DOWN_S)
    await site.ring.find("nats").start()
    deadline = time.monotonic() + _READY_WITHIN_S
    while not site.bus.connected:
        if time.monotonic() > deadline:
            raise NotStruck("the broker did not come back")
        await asyncio.sleep(0.05)


async def pause_broker(site: Site) -> None:
    """SIGSTOP the broker for a moment: the network between all processes stands still."""
    broker = site.ring.find("nats")
    broker.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(_BROKER_PAUSED_S)
    finally:
        broker.send(signal.SIGCONT)


def provider(role: str, how: str) -> Strike:
    """Let the stand-in of a role fail for a while."""

    async def strike(site: Site) -> None:
        await site.behave(**{f"{role}_fault": how})
        try:
            await asyncio.sleep(_PROVIDER_S)
        finally:
            await site.behave(**{f"{role}_fault": ""})

    return strike


async def nothing(site: Site) -> None:
    """No fault: what the others are compared with."""
