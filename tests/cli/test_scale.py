"""A zone of seventeen nodes on one machine, and a thousand workers on them: how long it takes. ``-s`` prints it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.cli.zones import make_zone

pytestmark = [pytest.mark.slow, pytest.mark.network]

RUNNERS, WORKERS = 16, 1000
AT_MOST = 60.0
"""Seconds for each part; on two idle cores all of it takes less than 15."""
PODS = f"""
name: big
pods:
  - name: main-pod
    containers: [{{name: main, image: main}}]
  - name: runner-pod
    clones: {RUNNERS}
    containers: [{{name: runner, image: runner}}]
"""
MAIN = f"""
import time
from autonomy import Node, Zone, gather

class Echo:
    async def handle_message(self, context, message):
        await context.reply(context.node.short_name)

async def main(node):
    runners = await Zone.nodes(node, "runner")
    began = time.monotonic()
    await gather(*(runners[i % len(runners)].start_worker(f"echo-{{i}}", Echo()) for i in range({WORKERS})))
    print(f"started in {{time.monotonic() - began:.2f}} s", flush=True)
    for asked in ("found", "asked again"):
        began = time.monotonic()
        answers = await gather(*(node.send_and_receive(f"echo-{{i}}", "x", timeout=60) for i in range({WORKERS})))
        assert answers == [runners[i % len(runners)].short_name for i in range({WORKERS})]
        print(f"{{asked}} in {{time.monotonic() - began:.2f}} s", flush=True)

Node.start(main)
"""
RUNNER = "from autonomy import Node\nNode.start()\n"


def test_a_zone_of_seventeen_nodes_is_up_soon_and_a_thousand_workers_answer_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONOMY_HOME", str(tmp_path / "home"))
    with make_zone(tmp_path / "big", PODS, main=MAIN, runner=RUNNER) as zone:
        began = time.monotonic()
        deployed = zone.run("deploy")
        took = time.monotonic() - began
        log = zone.run("logs", "main-pod").stdout

    assert deployed.returncode == 0, deployed.stderr
    assert deployed.stdout.count(" ready ") == 1 + RUNNERS
    times = dict(re.findall(r"^(started|found|asked again) in ([0-9.]+) s$", log, re.MULTILINE))
    assert list(times) == ["started", "found", "asked again"]
    inside = sum(map(float, times.values()))
    print(f"\n1 + {RUNNERS} nodes were up in {took - inside:.1f} s; {WORKERS} workers: {times}")  # noqa: T201
    assert took < AT_MOST
