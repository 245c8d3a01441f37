"""A zone within a program: real processes, started, watched, restarted and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from autonomy._deploy.containers import Patience
from autonomy._deploy.deploying import make_deployment
from autonomy._deploy.home import ZonePlace
from autonomy._deploy.local import LocalZone, open_processes, running_zone
from autonomy._deploy.state import Deployment
from autonomy._deploy.zone_file import read_zone_folder
from autonomy.errors import DeployFailed
from autonomy.identity import Credentials

from .zones import (
    AUTHORITY,
    BEGIN,
    CRASHES,
    READY,
    SOON,
    all_gone,
    guard_of,
    log_of,
    make_zone,
    node_file,
    pod,
    processes_of,
    until,
)

pytestmark = [pytest.mark.slow]


def deployment(folder: Path, place: ZonePlace) -> Deployment:
    """Return what a zone's folder wants."""
    return make_deployment(read_zone_folder(folder), place, cluster="local", id="1", authority=AUTHORITY)


@asynccontextmanager
async def zone_of(folder: Path, patience: Patience = SOON) -> AsyncGenerator[tuple[LocalZone, ZonePlace]]:
    """Run what a zone's folder describes, not up yet; check that nothing is left of it."""
    place = ZonePlace(folder.parent / "place")
    place.make()
    async with running_zone(place, patience) as zone:
        yield zone, place
    await all_gone(place.folder, 1)


def pids(zone: LocalZone) -> dict[str, int | None]:
    """Return the processes of a zone's containers, by node."""
    return {each.short_name: each.pid for state in zone.pods for each in state.containers}


async def test_a_zone_of_runners_is_ready_in_the_block_and_gone_after_it() -> None:
    async with open_processes({"runner": 3}, program=("python", "-c", READY), authority=AUTHORITY) as zone:
        states = [each for state in zone.pods for each in state.containers]
        folder = Path(states[0].log).parent.parent
        inside = processes_of(folder)

        assert [each.node for each in states] == [f"local-local-runner-{number}" for number in range(3)]
        assert {each.state for each in states} == {"ready"}
        assert zone.state.state == "up"
        assert {each.pid for each in states} <= set(inside)

    assert processes_of(folder) == []
    assert not folder.exists()


async def test_each_node_is_told_who_it_is(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("runners", "runner", more="clones: 2, "), {"runner": READY})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        told = node_file(place.node_file_of("runner-1"))
        authority = node_file(place.node_file_of("zone_authority"))
        guest = node_file(await zone.join("me"))
        credentials = [Credentials.load(str(each["credentials"])).name for each in (told, authority, guest)]

    assert told == {
        "zone": "shop",
        "cluster": "local",
        "name": "local-shop-runner-1",
        "pod": "runners",
        "container": "runner",
        "index": 1,
        "credentials": str(place.credentials / "runner-1"),
        "listen": "wss://127.0.0.1:0",
        "directory": {"node": "local-shop-zone_authority", "address": zone.state.directory},
        "rights": {"message": "*", "manage": "*", "ship": "*"},
        "code": {"mode": "source", "modules": []},
        "ready": str(place.nodes / "runner-1.ready"),
    }
    assert place.node_file_of("runner-1").stat().st_mode & 0o777 == 0o600
    assert (authority["listen"], authority["visible"]) == (zone.state.directory, False)
    assert credentials == ["local-shop-runner-1", "local-shop-zone_authority", "local-shop-me"]


async def test_certificates_are_renewed_where_nodes_find_them(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": READY})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        before = Credentials.load(place.credentials / "a")
        await zone.renew()
        after = Credentials.load(place.credentials / "a")

    assert after.certificate.serial_number != before.certificate.serial_number


async def test_each_container_has_its_own_folder_environment_and_log(tmp_path: Path) -> None:
    says = "print(os.getcwd(), os.environ['COLOUR'], sys.argv, file=sys.stderr)"
    program = f"{BEGIN}open('mine', 'x')\n{says}\nready()\nwait()"
    folder = make_zone(tmp_path / "zone", pod("a", "a", more="clones: 2, "), {"a": program})
    (folder / "images" / "a" / "Dockerfile").write_text(
        'FROM base\nENV COLOUR="dark red"\nWORKDIR /app\nCOPY . .\nCMD ["python", "/app/main.py", "/nowhere"]\n'
    )

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        logs = [log_of(each) for state in zone.pods for each in state.containers]

    roots = [place.containers / f"a-{number}" / "app" for number in range(2)]
    assert logs == [f"{root} dark red ['{root}/main.py', '/nowhere']\n" for root in roots]


async def test_main_pod_starts_when_all_others_are_ready(tmp_path: Path) -> None:
    late = f"{BEGIN}time.sleep(0.7)\nprint(time.time())\nready()\nwait()"
    early = f"{BEGIN}print(time.time())\nready()\nwait()"
    folder = make_zone(tmp_path / "zone", pod("main-pod", "main") + pod("late", "late"), {"main": early, "late": late})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        began = {each.name: float(log_of(each)) for state in zone.pods for each in state.containers}

    assert began["main"] > began["late"]


async def test_a_crash_is_followed_by_a_restart_that_the_log_tells_of(tmp_path: Path) -> None:
    program = f"{BEGIN}print('life', lives())\nif lives() < 4: sys.exit('crash')\nready()\nwait()"
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": program})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        state = zone.pods[0].containers[0]
        log = log_of(state)

    assert state.restarts == 1
    assert [line.partition(" a started again")[2] or line for line in log.splitlines()] == [
        "life 1",
        "crash",
        " after: exit code 1 (restart 1)",
        "life 3",
    ]


async def test_a_container_that_ends_at_once_fails_its_pod_with_the_end_of_its_log(tmp_path: Path) -> None:
    pods = pod("main-pod", "main") + pod("bad", "bad") + pod("good", "good")
    folder = make_zone(tmp_path / "zone", pods, {"main": READY, "bad": CRASHES, "good": READY})

    async with zone_of(folder) as (zone, place):
        with pytest.raises(DeployFailed) as caught:
            await zone.apply(deployment(folder, place))
        states = {state.pod: state.state for state in zone.pods}
        bad = zone.pods[1]

    assert str(caught.value) == (
        f"pod {bad.name!r} failed: container 'bad': exit code 1; the end of its log:\n"
        "    reading settings\n    there are no settings"
    )
    assert states == {"main-pod": "pending", "bad": "failed", "good": "ready"}


async def test_a_program_that_cannot_be_started_fails_its_pod(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": READY})
    (folder / "images" / "a" / "Dockerfile").write_text('FROM base\nCMD ["no-such-program"]')

    async with zone_of(folder) as (zone, place):
        with pytest.raises(DeployFailed, match="cannot be started: No such file or directory: 'no-such-program'"):
            await zone.apply(deployment(folder, place))


async def test_a_directory_that_does_not_run_is_said_so(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": READY})
    place = ZonePlace(tmp_path / "place")
    place.make()

    async with running_zone(place, SOON) as zone:
        wanted = make_deployment(
            read_zone_folder(folder), place, cluster="local", id="1", authority=("python", "-c", "1/0")
        )
        with pytest.raises(DeployFailed, match=r"the directory of zone 'shop' does not run: exit code 1.*\n.*\n.*"):
            await zone.apply(wanted)

    assert zone.pods == ()


async def test_a_program_that_says_nothing_counts_as_ready_after_a_while(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": f"{BEGIN}wait()"})

    async with zone_of(folder, Patience(ready=0.5, grace=1)) as (zone, place):
        await zone.apply(deployment(folder, place))

        assert zone.state.state == "up"


async def test_a_program_that_finishes_is_not_started_again(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": f"{BEGIN}print('done')"})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        state = zone.pods[0]

    assert (state.state, state.containers[0].reason) == ("stopped", "its program has finished")
    assert log_of(state.containers[0]) == "done\n"


async def test_only_what_has_changed_starts_again(tmp_path: Path) -> None:
    pods = pod("main-pod", "main") + pod("a", "a", more="clones: 2, ") + pod("b", "b")
    folder = make_zone(tmp_path / "zone", pods, {"main": READY, "a": READY, "b": READY})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        first = pids(zone)
        names = [state.name for state in zone.pods]
        await zone.apply(deployment(folder, place))
        second = pids(zone)
        make_zone(folder, pods, {"a": READY + "# changed"})
        await zone.apply(deployment(folder, place))
        third = pids(zone)
        make_zone(folder, pod("main-pod", "main", more="public: true, ") + pod("a", "a", more="clones: 3, "), {})
        await zone.apply(deployment(folder, place))
        fourth = pids(zone)

        assert second == first
        assert {name for name in third if third[name] != first[name]} == {"a-0", "a-1"}
        assert {name for name in fourth if fourth[name] != third.get(name)} == {"a-2"}
        assert "b" not in fourth
        assert zone.pods[0].public
        assert [state.name for state in zone.pods][:3] == names[:3]


async def test_a_failed_pod_starts_anew_when_the_zone_is_deployed_again(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("main-pod", "main") + pod("a", "a"), {"main": READY, "a": CRASHES})

    async with zone_of(folder) as (zone, place):
        with pytest.raises(DeployFailed):
            await zone.apply(deployment(folder, place))
        make_zone(folder, pod("main-pod", "main") + pod("a", "a"), {"a": READY})
        await zone.apply(deployment(folder, place))

        assert {state.state for state in zone.pods} == {"ready"}


async def test_a_zone_is_up_or_has_failed_as_its_pods_have_also_after_it_was_deployed(tmp_path: Path) -> None:
    main = f"{BEGIN}lives() < 5 and sys.exit('not yet')\nready()\nwait()"
    folder = make_zone(tmp_path / "zone", pod("main-pod", "main") + pod("a", "a"), {"main": main, "a": READY})

    async with zone_of(folder) as (zone, place):
        with pytest.raises(DeployFailed, match="not yet"):
            await zone.apply(deployment(folder, place))
        at_first = zone.state.state, zone.state.reason
        await until(lambda: zone.state.state == "up")

        assert at_first[0] == "failed"
        assert "not yet" in at_first[1]
        assert zone.state.reason == ""
        for _ in range(3):
            await until(lambda: zone.pods[1].state == "ready")
            pid = pids(zone)["a"]
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda: zone.pods[1].state != "ready")
        assert zone.state.state == "failed"

        assert "killed by SIGKILL" in zone.state.reason
        await until(lambda: zone.state.state == "up")


async def test_deploying_that_is_cut_short_can_be_done_again(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("main-pod", "main") + pod("a", "a"), {"main": READY, "a": READY})

    async with zone_of(folder) as (zone, place):
        for seconds in (0, 0.01, 0.05, 0.1):
            with trio.move_on_after(seconds):
                await zone.apply(deployment(folder, place))
        await zone.apply(deployment(folder, place))

        assert {state.state for state in zone.pods} == {"ready"}


async def test_a_pod_that_was_being_stopped_starts_again_if_it_is_wanted_after_all(tmp_path: Path) -> None:
    slow = f"{BEGIN}signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit()))\nready()\nwait()"
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": slow})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        before = pids(zone)
        make_zone(folder, pod("a", "a"), {"a": READY})
        with trio.move_on_after(0.2) as cut:
            await zone.apply(deployment(folder, place))
        make_zone(folder, pod("a", "a"), {"a": slow})
        await zone.apply(deployment(folder, place))

        assert cut.cancelled_caught
        assert zone.pods[0].state == "ready"
        assert pids(zone) != before


async def test_runners_run_in_a_copy_of_the_files_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(READY.replace("I am", "from a file, I am"))
    runners = {"runner": 2}

    async with open_processes(runners, files=tmp_path, program=("python", "main.py"), authority=AUTHORITY) as zone:
        logs = [log_of(each) for state in zone.pods for each in state.containers]

    assert [log.partition(" 1")[0] for log in logs] == [f"from a file, I am runner-{number}" for number in range(2)]


async def test_a_disk_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": READY})

    async with zone_of(folder) as (zone, place):
        place.ca.write_text("this is no folder")
        with pytest.raises(DeployFailed, match="ca"):
            await zone.apply(deployment(folder, place))

        assert zone.state.state == "failed"


async def test_a_program_ends_in_good_order_if_it_can(tmp_path: Path) -> None:
    program = f"{BEGIN}signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye')))\nready()\nwait()"
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": program})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))

    assert place.log_of("a").read_text() == "bye\n"


async def test_nothing_is_left_of_a_program_that_will_not_end_and_of_what_it_has_started(tmp_path: Path) -> None:
    program = f"""{BEGIN}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "1000"])
subprocess.Popen(["sleep", "1000"], start_new_session=True)
subprocess.run(["sh", "-c", "setsid sleep 1000 &"])
ready()
wait()
"""
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": program})

    async with zone_of(folder, Patience(ready=30, grace=0.3)) as (zone, place):
        await zone.apply(deployment(folder, place))
        await until(lambda: len(processes_of(place.containers / "a")) >= 4)


@pytest.mark.parametrize("ending", ["exit", "kill"])
async def test_what_a_program_has_started_ends_with_it(tmp_path: Path, ending: str) -> None:
    end = "sys.exit(0)" if ending == "exit" else "os.kill(os.getpid(), 9)"
    program = (
        f"{BEGIN}subprocess.Popen(['sleep', '1000'], start_new_session=True)\nif lives() == 1: {end}\nready()\nwait()"
    )
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": program})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        # A life that has ended has left nothing; one that goes on has its program, its guard and what it started.
        left = processes_of(place.containers / "a")

    assert len(left) == (0 if ending == "exit" else 3)


async def test_a_guard_that_is_killed_takes_the_program_along_and_it_starts_again(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": READY})

    async with zone_of(folder) as (zone, place):
        await zone.apply(deployment(folder, place))
        state = zone.pods[0].containers[0]
        pid = state.pid
        assert pid is not None
        os.kill(guard_of(pid), signal.SIGKILL)
        await until(lambda: state.restarts == 1 and state.state == "ready")

        assert state.pid != pid
        assert pid not in processes_of(place.folder)


async def test_a_log_of_a_hundred_thousand_lines_is_whole(tmp_path: Path) -> None:
    program = f"{BEGIN}for number in range(100_000): print('line', number)\nready()\nwait()"
    folder = make_zone(tmp_path / "zone", pod("a", "a"), {"a": program})

    async with zone_of(folder, Patience(ready=60)) as (zone, place):
        await zone.apply(deployment(folder, place))

    lines = place.log_of("a").read_text().splitlines()
    assert lines == [f"line {number}" for number in range(100_000)]


PARENT = """\
import sys, trio
from autonomy._deploy.local import open_processes
from tests.deploy.zones import AUTHORITY, BEGIN
program = BEGIN + "subprocess.Popen(['sleep', '1000'], start_new_session=True)\\nready()\\nwait()"
async def main():
    async with open_processes({"runner": 2}, program=("python", "-c", program), authority=AUTHORITY) as zone:
        print(zone.pods[0].containers[0].log, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
async def test_nothing_outlives_the_program_that_opened_the_zone(number: signal.Signals) -> None:
    process = await trio.lowlevel.open_process([sys.executable, "-c", PARENT], stdout=-1, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    async with process.stdout:
        folder = Path((await process.stdout.receive_some()).decode().strip()).parent.parent
        assert len(processes_of(folder)) >= 2 * 3

        process.send_signal(number)
        await process.wait()

    await all_gone(folder)


async def test_errors_come_out_as_they_are() -> None:
    with pytest.raises(
        DeployFailed, match=r"pod 'runner-.*-.*' failed: container 'runner': exit code 7; it wrote nothing"
    ):
        async with open_processes(
            {"runner": 1}, program=("python", "-c", "raise SystemExit(7)"), authority=AUTHORITY, patience=SOON
        ):
            pass
    with pytest.raises(KeyError):
        async with open_processes({"runner": 1}, program=("python", "-c", READY), authority=AUTHORITY):
            raise KeyError


async def test_a_name_that_is_taken_cannot_join(tmp_path: Path) -> None:
    async with open_processes({"runner": 1}, program=("python", "-c", READY), authority=AUTHORITY) as zone:
        with pytest.raises(ValueError, match="has a node 'runner-0' already"):
            await zone.join("runner-0")
        with pytest.raises(ValueError, match="is not allowed"):
            await zone.join("zone_authority")


@pytest.mark.parametrize(
    ("runners", "name", "said"),
    [
        ({}, "local", "runners must name how many"),
        (4, "local", r"such as {\"runner\": 4}, got int: 4"),
        ({"a": 0}, "local", "number of 'a' must be at least 1"),
        ({"a": 1.5}, "local", "number of 'a' must be an int, got float"),
        ({"a": 1001}, "local", "at most 1000"),
        ({1: 1}, "local", "got the name 1"),
        ({"A": 1}, "local", "'A' is not allowed"),
        ({"a": 1}, "a-b", "'a-b' is not allowed"),
    ],
)
async def test_a_zone_that_cannot_be_is_refused(runners: Any, name: str, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        async with open_processes(runners, name=name):
            pass


async def test_files_that_are_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"files must be a folder, and '.*nowhere' is none"):
        async with open_processes({"a": 1}, files=tmp_path / "nowhere"):
            pass
