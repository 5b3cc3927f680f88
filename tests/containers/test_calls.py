"""Calls through the containers, while some of them are killed, stopped and started."""

import subprocess
from collections import Counter

import pytest

from simulator.plan import OFFLINE
from tests.containers.stack import Stack, docker, until


def until_connected(stack: Stack, before: set[str], calls: int) -> set[str]:
    """The ids of `calls` calls that were not there before, as soon as all have their line."""
    new: set[str] = set()

    def seen() -> bool:
        new.update({event.call_id for event in stack.events("gateway", "call_connected")} - before)
        return len(new) >= calls

    until(seen, f"{calls} calls connected")
    return new


def known(stack: Stack) -> set[str]:
    return {event.call_id for event in stack.events("gateway", "call_connected")}


def kill_the_busiest(stack: Stack, service: str, calls: set[str]) -> set[str]:
    """Kill the container of `service` that holds the most of `calls`, and give their ids."""
    granted = "call_connected" if service == "gateway" else "lease_granted"
    held = [event for event in stack.events(service, granted) if event.call_id in calls]
    spread = Counter(event.container for event in held)
    assert len(spread) == len(stack.containers(service)), "each of them has calls"
    lost = spread.most_common(1)[0][0]
    docker("kill", lost)
    return {event.call_id for event in held if event.container == lost}


def start_all(stack: Stack) -> None:
    """A killed container is one that somebody stopped: the engine leaves it to us."""
    stack.run("up", "--detach", "--no-recreate", "--scale", "stt=3", "--scale", "tts=2")
    stack.until_whole(stt=3, tts=2)


@pytest.mark.parametrize("service", ["stt", "tts"])
def test_twenty_calls_get_their_answers_while_a_worker_is_killed(stack: Stack, service: str) -> None:
    before = known(stack)
    with stack.calling("load", "--calls", "20", "--over-s", "5", "--standins", stack.standins) as callers:
        calls = until_connected(stack, before, 20)
        moved = kill_the_busiest(stack, service, calls)
        shown = callers.communicate(timeout=300)[0]
    start_all(stack)
    assert callers.returncode == 0, shown
    assert "calls: 20, answered: 20, all right: 20" in shown, shown
    taken = {event.call_id for event in stack.events("gateway", "stage_taken") if event.log["stage"] == service}
    assert moved
    assert moved <= taken


def test_twenty_calls_go_on_when_a_gateway_is_killed(stack: Stack) -> None:
    before = known(stack)
    with stack.calling("load", "--calls", "20", "--over-s", "5", "--standins", stack.standins) as callers:
        calls = until_connected(stack, before, 20)
        moved = kill_the_busiest(stack, "gateway", calls)
        shown = callers.communicate(timeout=300)[0]
    start_all(stack)
    # What a caller says while there is no line to anybody is lost: he is answered, and may be misunderstood.
    assert "calls: 20, answered: 20" in shown, shown
    assert "(40 turns)" in shown, shown
    again = {event.call_id for event in stack.events("gateway", "call_connected") if event.log["line"] == 2}
    assert moved
    assert moved <= again


def test_a_call_hears_nothing_of_a_gateway_killed_between_two_turns(stack: Stack) -> None:
    before = known(stack)
    script = ("--say", "what are your opening hours", "--say", "what is on your menu")
    with stack.calling("call", *script, "--standins", stack.standins) as caller:
        shown = until_replied(caller)
        (call_id,) = until_connected(stack, before, 1)
        (first,) = [event for event in stack.events("gateway", "call_connected") if event.call_id == call_id]
        docker("kill", first.container)
        shown += caller.communicate(timeout=120)[0]
    start_all(stack)
    assert caller.returncode == 0, shown
    last = [event for event in stack.events("gateway", "call_connected") if event.call_id == call_id][-1]
    assert last.container != first.container
    assert last.log["line"] == 2


def until_replied(caller: "subprocess.Popen[str]") -> str:
    """What the simulator has shown when the first reply was heard: the call goes on behind it."""
    shown = ""
    assert caller.stdout is not None
    for line in caller.stdout:
        shown += line
        if "reply after" in line:
            return shown
    pytest.fail(f"the call ended early:\n{shown}")


def test_a_process_that_dies_is_started_again(stack: Stack) -> None:
    (container,) = stack.containers("llm")
    starts = docker("inspect", "--format", "{{.RestartCount}}", container)
    die = "import os; os.kill(int(open('/proc/1/task/1/children').read().split()[0]), 9)"
    # Compose gives the status of what died with its container: not the command's own.
    subprocess.run(["docker", "exec", container, "python", "-c", die], capture_output=True, check=False)
    until(lambda: docker("inspect", "--format", "{{.RestartCount}}", container) > starts, "a second start")
    stack.until_whole(llm=1)


def test_live_calls_move_when_a_stage_is_scaled_down_and_new_ones_go_to_what_comes(stack: Stack) -> None:
    before = known(stack)
    with stack.calling("load", "--calls", "10", "--over-s", "3", "--standins", stack.standins) as callers:
        calls = until_connected(stack, before, 10)
        stack.run("up", "--detach", "--no-recreate", "--scale", "stt=1", "--scale", "tts=2")
        shown = callers.communicate(timeout=300)[0]
    assert callers.returncode == 0, shown
    (left,) = stack.containers("stt")
    assert calls <= {event.call_id for event in stack.events("stt", "lease_granted")}, "the last one has them all"
    reasons = [event.log["reason"] for event in stack.events("gateway", "stage_taken") if event.call_id in calls]
    assert reasons, "calls have moved"
    assert set(reasons) == {"draining"}

    stack.run("up", "--detach", "--no-recreate", "--scale", "stt=3", "--scale", "tts=2")
    stack.until_whole(stt=3)
    assert stack.simulator("load", "--calls", "4", "--standins", stack.standins).returncode == 0
    assert {event.container for event in stack.events("stt", "lease_granted")} > {left}


def test_without_keys_the_offline_providers_answer(stack: Stack) -> None:
    workers = ("--no-deps", "stt", "llm", "tts")
    try:
        stack.run("up", "--detach", *workers, **OFFLINE)
        stack.until_whole()
        done = stack.simulator("call", "--say", "what are your opening hours")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        stack.run("up", "--detach", "--scale", "stt=3", "--scale", "tts=2", *workers)
        stack.until_whole(stt=3, tts=2)
