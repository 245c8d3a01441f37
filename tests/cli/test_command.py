"""The command: what it says, what it leaves on stdout and stderr, and its exit codes."""

from __future__ import annotations

import json
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


def test_a_command_that_does_not_exist_is_exit_code_two(home: Path) -> None:
    assert run("zone", "destroy").exit_code == 2
    assert run("zone", "deploy", "/no/such/folder").exit_code == 2
    assert run("zone", "status", "--zone", "Not/A/Name").exit_code in (2, 3)


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


# --- a program


def test_run_runs_one_program_as_python_does(home: Path) -> None:
    program = home / "program.py"
    program.write_text("import sys\nprint(__name__, sys.argv[1:])\nsys.exit(5)\n")

    done = subprocess.run(
        [sys.executable, "-m", "autonomy", "run", str(program), "--", "-x"], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stdout) == (5, "__main__ ['-x']\n")


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
