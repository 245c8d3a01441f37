"""The command: what it says, what it leaves on stdout and stderr, and its exit codes."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from autonomy._cli.command import main
from autonomy._deploy.home import ZonePlace
from autonomy._deploy.state import ContainerState, PodState, ZoneState, write_json
from autonomy.identity.private_files import make_private_folder
from tests.cli.zones import Zone, command, make_zone

PODS = """
name: demo
pods:
  - name: main-pod
    containers: [{name: main, image: main}]
  - name: runner-pod
    clones: 2
    containers: [{name: runner, image: runner}]
"""
MAIN = """
from autonomy import Node, Zone, info

async def main(node):
    for runner in await Zone.nodes(node, filter="runner"):
        info(await runner.send_and_receive("greeter", "main"))
    info("all greeted")

Node.start(main)
"""
RUNNER = """
from autonomy import Node

class Greeter:
    async def handle_message(self, context, message):
        await context.reply(f"Hello {message}, this is {context.node.short_name}")

async def main(node):
    await node.start_worker("greeter", Greeter())

Node.start(main)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without zones, and a folder to be in without a zone file."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("AUTONOMY_HOME", str(tmp_path / "home"))
    return tmp_path


def run(*words: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, words)


# --- words that cannot be


def test_without_a_zone_file_here_the_command_asks_for_a_name(home: Path) -> None:
    for words in (["status"], ["delete", "--yes"], ["logs"], ["inlet", "--to", "logs"]):
        done = run("zone", *words)

        assert done.exit_code == 2
        assert "there is no autonomy.yaml here" in done.stderr
        assert done.stdout == ""


def test_a_zone_that_is_not_there_is_exit_code_three(home: Path) -> None:
    for words in (["status"], ["delete", "--yes"], ["logs"], ["inlet", "--to", "logs"]):
        done = run("zone", *words, "--zone", "nobody")

        assert done.exit_code == 3, done.output
        assert "no zone 'nobody'" in done.stderr


def test_a_zone_file_that_cannot_be_is_exit_code_two_with_its_place(home: Path) -> None:
    (home / "autonomy.yaml").write_text("name: demo\npods:\n  - name: main-pod\n    contaners: []\n")

    done = run("zone", "deploy", str(home))

    assert done.exit_code == 2
    assert "autonomy.yaml:4:5" in done.stderr
    assert "contaners" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["zone", "destroy"], "no such command 'destroy'"),
        (["zone", "deploy", "/no/such/folder"], "'/no/such/folder' does not exist"),
        (["zone", "status", "--colour"], "no such option"),
        (["zone", "inlet"], "missing option '--to'"),
        (["zone", "inlet", "--to", "shell"], "'shell' is not"),
        (["zone", "inlet", "--to", "logs", "--port", "x"], "'x' is not a valid int"),
        (["zone", "status", "--zone", "Not/A/Name"], "zone name 'Not/A/Name' is not allowed: write 1 to 10 of a-z 0-9"),
        (["zone", "logs", "--zone", "../demo"], "zone name '../demo' is not allowed"),
        (["zone", "status"], "there is no autonomy.yaml here"),
        (["run", "nothing.py"], "'nothing.py' does not exist"),
    ],
)
def test_words_that_cannot_be_are_exit_code_two_with_one_line(home: Path, words: list[str], said: str) -> None:
    done = run(*words)

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("autonomy: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_without_zone_file_is_exit_code_two_with_what_is_there(home: Path) -> None:
    assert "there is no autonomy.yaml" in run("zone", "deploy").stderr
    (home / "autonomy.yml").write_text("name: demo")

    done = run("zone", "deploy", str(home))

    assert done.exit_code == 2
    assert f"there is no autonomy.yaml in '{home}': it has autonomy.yml" in done.stderr


def test_deleting_what_is_not_there_is_exit_code_three_in_json_too(home: Path) -> None:
    done = run("zone", "delete", "--zone", "nobody", "--yes", "--json")

    assert done.exit_code == 3
    assert json.loads(done.stdout) == {"zone": "nobody", "deleted": False}


def test_a_home_that_cannot_be_is_said_without_numbers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("AUTONOMY_HOME", str(home / "file"))
    with make_zone(home / "demo", PODS, main=MAIN, runner=RUNNER) as zone:
        done = zone.run("deploy")

    assert done.returncode == 1
    assert done.stderr == f"autonomy: {home / 'file' / 'locks'}: Not a directory\n"


def test_where_no_zone_runs_the_list_says_so(home: Path) -> None:
    assert "No zone runs on this machine" in run("zone", "list").stdout
    assert json.loads(run("zone", "list", "--json").stdout) == []


def test_help_names_every_command_and_the_exit_codes(home: Path) -> None:
    assert all(word in run("zone", "--help").stdout for word in ("deploy", "list", "status", "delete", "logs", "inlet"))
    assert "Exit codes" in run("--help").stdout


# --- a zone whose supervisor is gone


@pytest.fixture
def stopped(home: Path) -> ZoneState:
    """A zone of which files alone are there: three nodes have written a line each."""
    make_private_folder(home / "home" / "zones")
    place = ZonePlace.of(home / "home", "demo")
    place.make()
    pods = []
    for name, index, short_name in (("main-pod", None, "main"), ("runners", 0, "runner-0"), ("runners", 1, "runner-1")):
        place.log_of(short_name).write_text(f"this is {short_name}\n")
        container = ContainerState(
            short_name.partition("-")[0], f"local-demo-{short_name}", short_name, str(place.log_of(short_name))
        )
        full_name = f"{name}-abc-{short_name.replace('-', '')}"
        pods.append(PodState(full_name, name, index, "small", public=False, containers=[container]))
    state = ZoneState("demo", "local", pods=pods)
    write_json(place.state, state)
    return state


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("main-pod", ["this is main"]),
        ("runners", ["runner-0 │ this is runner-0", "runner-1 │ this is runner-1"]),
        ("runners-abc-runner1", ["this is runner-1"]),
        ("runner-0", ["this is runner-0"]),
        ("local-demo-runner-0", ["this is runner-0"]),
    ],
)
def test_logs_are_shown_of_a_pod_or_of_a_node(stopped: ZoneState, name: str, lines: list[str]) -> None:
    assert run("zone", "logs", "--zone", "demo", name).stdout.splitlines() == lines


def test_logs_of_what_is_not_there_say_what_is(stopped: ZoneState) -> None:
    done = run("zone", "logs", "--zone", "demo", "runner")

    assert done.exit_code == 2
    assert "has no pod 'runner'; it has main-pod, runners, with the nodes main, runner-0, runner-1" in done.stderr


def test_logs_in_json_are_an_object_a_line(stopped: ZoneState) -> None:
    lines = [json.loads(line) for line in run("zone", "logs", "--zone", "demo", "--json").stdout.splitlines()]

    assert [each["line"] for each in lines] == ["this is main", "this is runner-0", "this is runner-1"]
    assert lines[2] == {
        "pod": "runners-abc-runner1",
        "container": "runner",
        "node": "local-demo-runner-1",
        "line": "this is runner-1",
    }


@pytest.mark.network
@pytest.mark.slow
def test_the_inlet_says_its_address_in_json_too(stopped: ZoneState) -> None:
    words = command("zone", "inlet", "--to", "logs", "--port", "0", "--zone", "demo", "--json")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as inlet:
        assert inlet.stdout is not None
        said = json.loads(inlet.stdout.readline())
        there = httpx.get(f"{said['address']}/api/pods").status_code
        inlet.terminate()

    assert (said["zone"], there) == ("demo", 200)


def test_a_zone_that_nobody_understands_hides_no_other_and_can_be_deleted(home: Path, stopped: ZoneState) -> None:
    other = ZonePlace.of(home / "home", "other")
    other.make()
    other.state.write_text('{"of": "another version"}')

    listed = json.loads(run("zone", "list", "--json").stdout)
    done = CliRunner().invoke(main, ["zone", "delete", "--zone", "other"], input="y\n")

    assert [(each["zone"], each["state"]) for each in listed] == [("demo", "stopped"), ("other", "failed")]
    assert "cannot be read" in listed[1]["reason"]
    assert (done.exit_code, other.folder.exists()) == (0, False)


# --- a program


def test_run_runs_one_program_as_python_does(home: Path) -> None:
    program = home / "program.py"
    program.write_text("import sys\nprint(__name__, sys.argv[1:])\nsys.exit(5)\n")

    done = subprocess.run(
        [sys.executable, "-m", "autonomy", "run", str(program), "-x", "--help", "--", "y"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (5, "__main__ ['-x', '--help', '--', 'y']\n")


# --- a zone


@pytest.fixture
def zone(home: Path) -> Iterator[Zone]:
    """A zone that is deployed."""
    with make_zone(home / "demo", PODS, main=MAIN, runner=RUNNER) as zone:
        yield zone


@pytest.mark.slow
@pytest.mark.network
def test_a_zone_is_deployed_looked_at_and_taken_down(zone: Zone) -> None:
    done = zone.run("deploy")
    assert done.returncode == 0, done.stderr
    assert "Zone demo is up" in done.stdout
    assert done.stdout.count("runner-pod-") == 2

    listed = zone.run("list")
    assert "demo" in listed.stdout

    state = json.loads(zone.run("status", "--json").stdout)
    nodes = sorted(each["node"] for pod in state["pods"] for each in pod["containers"])
    assert nodes == ["local-demo-main", "local-demo-runner-0", "local-demo-runner-1"]
    assert {pod["state"] for pod in state["pods"]} == {"ready"}

    logs = zone.run("logs", "main-pod").stdout
    assert logs.index("this is runner-0") < logs.index("this is runner-1") < logs.index("all greeted")
    assert "no pod 'other'" in zone.run("logs", "other").stderr

    gone = zone.run("delete", "--yes")
    assert (gone.returncode, gone.stdout) == (0, "Zone demo is deleted.\n")
    assert zone.run("status").returncode == 3
    assert zone.processes() == []


@pytest.mark.slow
@pytest.mark.network
def test_a_zone_of_that_name_from_another_folder_is_exit_code_two_with_the_ways_out(zone: Zone, home: Path) -> None:
    assert zone.run("deploy").returncode == 0
    (home / "second").mkdir()
    other = Zone(home / "second")
    shutil.copytree(zone.folder, other.folder, dirs_exist_ok=True)

    refused = other.run("deploy")
    attached = other.run("deploy", "--attach")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"runs already, deployed from {str(zone.folder)!r}" in refused.stderr
    assert "'autonomy zone delete --zone demo'" in refused.stderr
    assert attached.returncode == 2
    assert zone.run("status").returncode == 0


@pytest.mark.slow
@pytest.mark.network
def test_a_pod_that_fails_says_why_with_the_end_of_its_log(zone: Zone) -> None:
    zone.write("runner", "import sys\nprint('what went wrong')\nsys.exit(9)\n")

    done = zone.run("deploy")

    assert done.returncode == 1
    assert "runner-pod" in done.stderr
    assert "what went wrong" in done.stderr

    done = zone.run("deploy", "--json")

    assert done.returncode == 1
    state = json.loads(done.stdout)
    assert state["state"] == "failed"
    assert "what went wrong" in state["reason"]
    assert "what went wrong" in done.stderr


@pytest.mark.slow
@pytest.mark.network
def test_the_inlet_prints_its_address_first_and_serves_pods_and_logs(zone: Zone) -> None:
    assert zone.run("deploy").returncode == 0
    words = command("zone", "inlet", "--to", "logs", "--port", "0")
    with subprocess.Popen(words, cwd=zone.folder, stdout=subprocess.PIPE, text=True) as inlet:
        assert inlet.stdout is not None
        address = inlet.stdout.readline().strip()
        pods = httpx.get(f"{address}/api/pods").json()
        first = next(pod for pod in pods if pod["pod"] == "main-pod")
        log = httpx.get(f"{address}/pods/{first['name']}/containers/main?follow=false").text
        inlet.send_signal(signal.SIGTERM)
        code = inlet.wait(10)

    assert address.startswith("http://127.0.0.1:")
    assert sorted(pod["pod"] for pod in pods) == ["main-pod", "runner-pod", "runner-pod"]
    assert sorted(pod["nodes"][0] for pod in pods) == ["local-demo-main", "local-demo-runner-0", "local-demo-runner-1"]
    assert "all greeted" in log
    assert code == 0


@pytest.mark.slow
@pytest.mark.network
def test_attached_the_logs_are_shown_and_ctrl_c_takes_the_zone_down(zone: Zone) -> None:
    words = command("zone", "deploy", "--attach")
    with subprocess.Popen(words, cwd=zone.folder, stdout=subprocess.PIPE, text=True) as attached:
        assert attached.stdout is not None
        was_shown = any("all greeted" in line for line in attached.stdout)
        attached.send_signal(signal.SIGINT)
        attached.stdout.read()
        code = attached.wait(30)

    assert was_shown
    assert code == 0
    assert zone.run("status").returncode == 3


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("way", ["the terminal is closed", "nobody reads"])
def test_attached_the_zone_is_taken_down_also_when_nobody_looks_any_more(zone: Zone, way: str) -> None:
    zone.write("main", "import time\nfor _ in range(1000):\n    print('tick')\n    time.sleep(0.1)\n")
    words = command("zone", "deploy", "--attach")
    with subprocess.Popen(
        words, cwd=zone.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as attached:
        assert attached.stdout is not None
        was_shown = any("tick" in line for line in attached.stdout)
        if way == "the terminal is closed":
            attached.send_signal(signal.SIGHUP)
        attached.stdout.close()
        attached.wait(60)

    assert was_shown
    assert zone.run("status").returncode == 3
    assert zone.processes() == []


@pytest.mark.slow
@pytest.mark.network
def test_a_mistake_when_attaching_leaves_what_runs_as_it_is(zone: Zone) -> None:
    zone.write("main", "pass\n")
    assert zone.run("deploy").returncode == 0
    (zone.folder / "images" / "main" / "Dockerfile").write_text("FROM base\nRUN ls\n")

    done = zone.run("deploy", "--attach")

    assert (done.returncode, done.stdout) == (2, "")
    assert "'RUN' is not read" in done.stderr
    assert "is up" in zone.run("status").stdout


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(("more", "code"), [([], 0), (["--attach"], 3)])
def test_interrupted_before_all_is_up_the_command_says_what_becomes_of_the_zone(
    zone: Zone, more: list[str], code: int
) -> None:
    zone.write("main", "import time\ntime.sleep(1000)\n")
    words = command("zone", "deploy", *more)
    with subprocess.Popen(words, cwd=zone.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as deploy:
        while '"running"' not in zone.run("status", "--json").stdout:
            time.sleep(0.05)
        deploy.send_signal(signal.SIGINT)
        said, error = deploy.communicate(timeout=60)

    assert (deploy.returncode, said) == (130, "")
    assert "interrupted before all was up; zone 'demo'" in error
    assert zone.run("status").returncode == code


@pytest.mark.slow
@pytest.mark.network
def test_a_zone_is_deleted_only_by_whoever_says_so(zone: Zone) -> None:
    zone.write("main", "pass\n")
    assert zone.run("deploy").returncode == 0

    nobody = zone.run("delete")
    no = subprocess.run(
        command("zone", "delete"), cwd=zone.folder, input="n\n", capture_output=True, text=True, timeout=60
    )

    assert (nobody.returncode, no.returncode) == (2, 1)
    assert "nobody is there to answer: --yes" in nobody.stderr
    assert "zone 'demo' was not deleted" in no.stderr
    assert "is up" in zone.run("status").stdout


@pytest.mark.slow
@pytest.mark.network
def test_a_port_that_is_taken_is_said_with_what_would_do(zone: Zone) -> None:
    zone.write("main", "pass\n")
    assert zone.run("deploy").returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = zone.run("inlet", "--to", "logs", "--port", port)

    assert done.returncode == 1
    assert f"port {port}: Address already in use" in done.stderr
    assert "--port 0" in done.stderr
