"""Prometheus beside the stack: it finds every container, reads what it says, and knows the alerts."""

import json
from typing import Any
from urllib.parse import quote

import yaml

from tests.containers.stack import Stack, said_by, until
from tests.fakes import ROOT


def asked(stack: Stack, path: str) -> Any:
    """Prometheus's answer; empty while it has none."""
    body = said_by(f"http://127.0.0.1:{stack.env['PROMETHEUS_PORT']}/api/v1/{path}")
    return json.loads(body)["data"] if body.startswith("{") else {}


def values(stack: Stack, query: str) -> dict[str, float]:
    """The query's numbers by `job`."""
    found = asked(stack, f"query?query={quote(query)}").get("result", [])
    return {each["metric"].get("job", ""): float(each["value"][1]) for each in found}


def test_prometheus_scrapes_every_container_and_knows_the_alerts(stack: Stack) -> None:
    stack.run("up", "--detach", "--no-deps", "prometheus")
    there = {"gateway": 2, "stt": 3, "llm": 1, "tts": 2, "speech": 1}
    until(lambda: values(stack, "sum by (job) (up)").items() >= there.items(), f"scraped: {there}")
    assert stack.simulator("call", "--say", "what are your opening hours", "--any-answer").returncode == 0
    ended = 'sum by (job) (trunkline_calls_ended_total{reason="caller_hung_up"})'
    until(lambda: values(stack, ended).get("gateway", 0) >= 1, "an ended call")
    assert values(stack, "sum by (job) (trunkline_capacity)")["stt"] == 3 * 25

    wanted = {
        rule["alert"]
        for group in yaml.safe_load((ROOT / "monitoring/rules.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    loaded = [rule for group in asked(stack, "rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in loaded} == wanted
    until(
        lambda: all(rule["health"] == "ok" for group in asked(stack, "rules")["groups"] for rule in group["rules"]),
        "every alert evaluated without an error",
    )
