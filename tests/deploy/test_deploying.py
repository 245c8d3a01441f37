"""What commands do: zones that run on when the command has ended, and what may happen to them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from autonomy._deploy.deploying import delete_zone, deploy_zone, list_zones, zone_state
from autonomy._deploy.home import ZonePlace, autonomy_home
from autonomy._deploy.state import ZoneState
from autonomy.errors import DeployFailed, ZoneFileError

from .zones import AUTHORITY, CRASHES, READY, all_gone, guard_of, log_of, make_zone, pod, processes_of, until

pytestmark = [pytest.mark.slow]

PODS = pod("main-pod", "main") + pod("runners", "runner", more="clones: 2, ")
IMAGES = {"main": READY, "runner": READY}


@asynccontextmanager
async def home_in(folder: Path) -> AsyncGenerator[Path]:
    """Return a home for zones; whatever runs there is deleted at the end, and nothing may be left of it."""
    home = folder / "home"
    try:
        yield home
    finally:
        with trio.CancelScope(shield=True):
            for path in home.glob("zones/*"):
                await delete_zone(path.name, home=home)
            await all_gone(home)


async def deploy(folder: Path, home: Path) -> ZoneState:
    """Deploy a zone with a stand-in for the directory."""
    return await deploy_zone(folder, home=home, authority=AUTHORITY)


def pids(state: ZoneState) -> dict[str, int | None]:
    """Return the processes of a zone's containers, by node."""
    return {each.short_name: each.pid for pod in state.pods for each in pod.containers}


async def test_a_zone_runs_until_it_is_deleted(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        state = await deploy(folder, home)
        shown = list_zones(home=home)
        there = await delete_zone("shop", home=home)

        assert state.state == "up"
        assert [(each.pod, each.index, each.state) for each in state.pods] == [
            ("main-pod", None, "ready"),
            ("runners", 0, "ready"),
            ("runners", 1, "ready"),
        ]
        assert (state.folder, state.cluster) == (str(folder), "local")
        assert [each.zone for each in shown] == ["shop"]
        assert there
        assert processes_of(home) == []
        assert list_zones(home=home) == []
        assert not ZonePlace.of(home, "shop").folder.exists()


async def test_what_is_kept_of_a_zone_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        await deploy(folder, home)
        place = ZonePlace.of(home, "shop")
        # What is within the containers' folders, or made by their programs, is closed by the folder around it.
        ours = [each for each in place.folder.rglob("*") if place.containers not in each.parents]
        closed = [home / "zones", home / "locks", *(each for each in ours if each.suffix != ".ready")]

        assert [path for path in closed if path.lstat().st_mode & 0o077] == []


async def test_a_zone_that_is_deployed_again_changes_where_it_must(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        first = await deploy(folder, home)
        second = await deploy(folder, home)
        make_zone(folder, PODS, {"main": READY + "# changed"})
        third = await deploy(folder, home)

        assert pids(second) == pids(first)
        assert (second.supervisor, third.supervisor) == (first.supervisor, first.supervisor)
        assert {name for name, pid in pids(third).items() if pid != pids(first)[name]} == {"main"}
        assert [each.name for each in third.pods] == [each.name for each in first.pods]
        assert len(list(ZonePlace.of(home, "shop").images.iterdir())) == 2


async def test_a_pod_that_fails_says_why_and_can_be_mended(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, {"main": READY, "runner": CRASHES})

    async with home_in(tmp_path) as home:
        with pytest.raises(
            DeployFailed,
            match=r"pod 'runners-.*' failed: container 'runner': exit code 1(.*\n)*.*there are no settings",
        ):
            await deploy(folder, home)
        failed = zone_state("shop", home=home)
        make_zone(folder, PODS, IMAGES)
        mended = await deploy(folder, home)

        assert failed is not None
        assert (failed.state, failed.pods[0].state) == ("failed", "pending")
        assert mended.state == "up"


async def test_a_zone_of_that_name_from_another_folder_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)
    other = make_zone(tmp_path / "other", pod("main-pod", "main"), IMAGES)

    async with home_in(tmp_path) as home:
        before = await deploy(folder, home)
        with pytest.raises(ValueError, match="a zone 'shop' runs already, deployed from") as caught:
            await deploy(other, home)
        after = zone_state("shop", home=home)

    assert f"deployed from {str(folder)!r}, and this is {str(other)!r}: end that one first" in str(caught.value)
    assert after == before


async def test_the_same_folder_by_another_name_is_the_same(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)
    (tmp_path / "link").symlink_to(folder)

    async with home_in(tmp_path) as home:
        first = await deploy(folder, home)
        again = await deploy(tmp_path / "link", home)

    assert pids(again) == pids(first)


@pytest.mark.parametrize("how", ["moved", "renamed"])
async def test_a_zone_whose_folder_has_moved_goes_on_from_there_and_that_is_said(tmp_path: Path, how: str) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)
    noted: list[str] = []

    async with home_in(tmp_path) as home:
        first = await deploy(folder, home)
        if how == "moved":
            folder.rename(tmp_path / "there")
        else:
            shutil.copytree(folder, tmp_path / "there")
            (folder / "autonomy.yaml").write_text((folder / "autonomy.yaml").read_text().replace("shop", "other"))
        again = await deploy_zone(tmp_path / "there", home=home, authority=AUTHORITY, noted=noted.append)
        await deploy_zone(tmp_path / "there", home=home, authority=AUTHORITY, noted=noted.append)

    assert pids(again) == pids(first)
    assert again.folder == str(tmp_path / "there")
    assert noted == [
        f"zone 'shop' was deployed from {str(folder)!r}, where it is no more: it has moved, and goes on from here"
    ]


async def test_a_folder_whose_file_is_being_changed_still_has_its_zone(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)
    other = make_zone(tmp_path / "other", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        await deploy(folder, home)
        (folder / "autonomy.yaml").write_text("name: [")
        with pytest.raises(ValueError, match="a zone 'shop' runs already"):
            await deploy(other, home)


async def test_a_zone_file_that_cannot_be_changes_nothing(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        first = await deploy(folder, home)
        make_zone(folder, PODS + pod("runners", "other"), {"other": READY})
        with pytest.raises(ZoneFileError, match="'runners' is here twice"):
            await deploy(folder, home)

        assert zone_state("shop", home=home) == first


async def test_an_image_with_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)
    (folder / "images" / "main" / "secret").symlink_to("../../../secret")

    async with home_in(tmp_path) as home:
        with pytest.raises(DeployFailed, match=r"link 'secret' leads to '../../../secret', out of the image"):
            await deploy(folder, home)

        assert processes_of(home) == []


async def test_two_commands_at_once_come_one_after_the_other(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)
    states = []

    async def one() -> None:
        states.append(await deploy(folder, home))

    async with home_in(tmp_path) as home:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)

        assert sorted(state.generation for state in states) == [1, 2, 3, 4]
        assert len({state.supervisor for state in states}) == 1
        assert all(pids(state) == pids(states[0]) for state in states)


async def test_nothing_is_left_when_the_supervisor_is_killed_and_the_zone_can_be_deployed_again(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        first = await deploy(folder, home)
        assert first.supervisor is not None
        os.kill(first.supervisor, signal.SIGKILL)
        await all_gone(home)
        between = zone_state("shop", home=home)
        again = await deploy(folder, home)

        assert between is not None
        assert (between.state, between.supervisor) == ("stopped", None)
        assert "its supervisor was killed" in between.reason
        assert {each.state for each in between.pods} == {"stopped"}
        assert again.state == "up"
        assert again.supervisor != first.supervisor
        assert "started again" in log_of(again.pods[0].containers[0])


async def test_a_zone_is_deployed_again_at_once_after_its_supervisor_was_killed(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        for _ in range(2):
            state = await deploy(folder, home)
            assert state.supervisor is not None
            os.kill(state.supervisor, signal.SIGKILL)
        state = await deploy(folder, home)
        nodes = [path for path in processes_of(home) if path in pids(state).values()]

        assert state.state == "up"
        assert len(nodes) == 3


async def test_a_zone_counts_as_running_until_its_last_guard_has_done_its_work(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        place = ZonePlace.of(home, "shop")
        state = await deploy(folder, home)
        pid = state.pods[0].containers[0].pid
        assert pid is not None
        assert state.supervisor is not None
        guard = guard_of(pid)
        os.kill(guard, signal.SIGSTOP)
        os.kill(state.supervisor, signal.SIGKILL)
        await until(lambda: len(processes_of(home)) == 2)
        with trio.move_on_after(1) as waiting:
            await deploy(folder, home)

        assert waiting.cancelled_caught
        assert (place.supervised, place.running) == (False, True)
        assert alive(pid)

        os.kill(guard, signal.SIGCONT)
        await deploy(folder, home)

        assert pid not in processes_of(home)


async def test_a_supervisor_that_is_asked_to_end_stops_its_zone_in_good_order(tmp_path: Path) -> None:
    program = READY.replace("ready()\n", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye')))\nready()\n")
    folder = make_zone(tmp_path / "zone", PODS, {"main": program, "runner": program})

    async with home_in(tmp_path) as home:
        state = await deploy(folder, home)
        assert state.supervisor is not None
        os.kill(state.supervisor, signal.SIGTERM)
        await all_gone(home)
        after = zone_state("shop", home=home)

        assert after is not None
        assert (after.state, after.reason) == ("stopped", "")
        assert {each.state for each in after.pods} == {"stopped"}
        assert all(log_of(each).endswith("bye\n") for pod in after.pods for each in pod.containers)


async def test_a_supervisor_that_is_asked_to_end_twice_ends_at_once(tmp_path: Path) -> None:
    program = READY.replace("ready()\n", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nready()\n")
    folder = make_zone(tmp_path / "zone", PODS, {"main": program, "runner": program})

    async with home_in(tmp_path) as home:
        state = await deploy(folder, home)
        assert state.supervisor is not None
        os.kill(state.supervisor, signal.SIGTERM)
        await until(lambda: (found := zone_state("shop", home=home)) and found.state == "stopping")
        os.kill(state.supervisor, signal.SIGTERM)

        await all_gone(home)


async def test_a_command_that_is_cut_short_leaves_what_the_next_one_goes_on_from(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        for seconds in (0.02, 0.3, 0.6):
            with trio.move_on_after(seconds):
                await deploy(folder, home)
        state = await deploy(folder, home)

        assert state.state == "up"


async def test_what_is_not_there_cannot_be_deleted(tmp_path: Path) -> None:
    async with home_in(tmp_path) as home:
        assert not await delete_zone("shop", home=home)
        assert zone_state("shop", home=home) is None
        with pytest.raises(ValueError, match="is not allowed"):
            await delete_zone("../shop", home=home)


async def test_a_zone_whose_files_nobody_understands_can_be_deleted(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        await deploy(folder, home)
        ZonePlace.of(home, "shop").state.write_text("{}")
        with pytest.raises(DeployFailed, match=r"cannot be read: .*Delete the zone, and deploy it again"):
            zone_state("shop", home=home)
        there = await delete_zone("shop", home=home)

        assert there
        assert processes_of(home) == []


async def test_a_zone_is_deleted_once_by_commands_at_once(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)
    there = []

    async def one() -> None:
        there.append(await delete_zone("shop", home=home))

    async with home_in(tmp_path) as home:
        await deploy(folder, home)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)

        assert sorted(there) == [False, False, True]


async def test_progress_is_told(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)
    told: list[str] = []

    async with home_in(tmp_path) as home:
        await deploy_zone(folder, home=home, authority=AUTHORITY, told=lambda state: told.append(state.state))

    assert told[-1] == "up"
    assert set(told) <= {"deploying", "up"}


COMMAND = """\
import sys, trio
from pathlib import Path
from autonomy._deploy.deploying import deploy_zone
from tests.deploy.zones import AUTHORITY
trio.run(lambda: deploy_zone(Path(sys.argv[1]), home=Path(sys.argv[2]), authority=AUTHORITY))
print("deployed")
"""


async def test_the_zone_holds_nothing_of_the_command_that_deployed_it(tmp_path: Path) -> None:
    folder = make_zone(tmp_path / "zone", PODS, IMAGES)

    async with home_in(tmp_path) as home:
        command = [sys.executable, "-c", COMMAND, str(folder), str(home)]
        # Ends when nobody holds the pipes any more.
        with trio.fail_after(30):
            done = await trio.run_process(
                command, capture_stdout=True, stderr=subprocess.STDOUT, start_new_session=True
            )
        state = zone_state("shop", home=home)

        assert done.stdout == b"deployed\n"
        assert state is not None
        assert state.state == "up"
        assert state.supervisor is not None
        assert stdio_of(state.supervisor) == ["/dev/null", *[str(ZonePlace.of(home, "shop").supervisor_log)] * 2]
        assert os.getsid(state.supervisor) != os.getsid(0)
        await until(lambda: all(map(alive, pids(state).values())))


def stdio_of(pid: int) -> list[str]:
    """Return what a process has for standard input, output and error."""
    return [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]


def alive(pid: int | None) -> bool:
    """Whether a process is there."""
    return pid is not None and Path(f"/proc/{pid}").exists()


def test_zones_are_kept_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert autonomy_home({"AUTONOMY_HOME": "/somewhere"}) == Path("/somewhere")
    assert autonomy_home({"AUTONOMY_HOME": ""}) == tmp_path / ".autonomy"
    assert autonomy_home({}) == tmp_path / ".autonomy"
