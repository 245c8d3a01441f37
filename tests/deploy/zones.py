"""Zones for the tests of `_deploy`: folders that describe them, programs for them, and what is left of them.

The programs stand in for nodes: they make the ready file that their node file names, and wait.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import trio

from autonomy._deploy.containers import Patience
from autonomy._deploy.state import ContainerState
from autonomy._sansio.backoff import Backoff

BEGIN = """\
import json, os, signal, subprocess, sys, time
node = json.load(open(os.environ["AUTONOMY_NODE_FILE"]))
def ready():
    open(node["ready"] + ".new", "w").write("1")
    os.replace(node["ready"] + ".new", node["ready"])
def wait():
    while True:
        time.sleep(100)
def lives():
    with open("lives", "a") as file:
        file.write("x")
    return len(open("lives").read())
"""
READY = f"{BEGIN}print('I am', os.environ['NODE'], time.time())\nready()\nwait()\n"
CRASHES = f"{BEGIN}print('reading settings')\nraise SystemExit('there are no settings')\n"
AUTHORITY = ("python", "-c", READY)
SOON = Patience(ready=30, grace=5, crashes=2, backoff=Backoff(0.05, 0.2))
DOCKERFILE = 'FROM base\nCOPY . .\nENTRYPOINT ["python", "main.py"]\n'


def make_zone(folder: Path, pods: str, images: Mapping[str, str], *, name: str = "shop") -> Path:
    """Make or change a zone's folder: `pods` is YAML, of each image there is the program."""
    folder.mkdir(exist_ok=True)
    (folder / "autonomy.yaml").write_text(f"name: {name}\npods:\n{pods}")
    for image, program in images.items():
        (folder / "images" / image).mkdir(parents=True, exist_ok=True)
        (folder / "images" / image / "Dockerfile").write_text(DOCKERFILE)
        (folder / "images" / image / "main.py").write_text(program)
    return folder


def pod(name: str, *containers: str, more: str = "") -> str:
    """Return a pod in YAML, whose containers are made from the images of their names."""
    inner = ", ".join(f"{{name: {each}, image: {each}}}" for each in containers)
    return f"  - {{name: {name}, {more}containers: [{inner}]}}\n"


def processes_of(folder: Path) -> list[int]:
    """Return all processes that have anything to do with a folder: by their environment, arguments or place."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            text = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            text += os.fsencode((process / "cwd").readlink())
            if os.fsencode(folder) in text and int(process.name) != os.getpid():
                found.append(int(process.name))
    return found


async def until(reached: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until something has come true."""
    with trio.fail_after(seconds):
        while not reached():  # noqa: ASYNC110  # of other processes
            await trio.sleep(0.02)


async def all_gone(folder: Path, seconds: float = 5.0) -> None:
    """Wait until no process has anything to do with a folder."""
    await until(lambda: not processes_of(folder), seconds)


def node_file(path: Path) -> dict[str, object]:
    """Return what a node file says."""
    value = json.loads(path.read_text())
    assert isinstance(value, dict)
    return value


def log_of(state: ContainerState) -> str:
    """Return what a container has written."""
    return Path(state.log).read_text()


def guard_of(pid: int) -> int:
    """Return the process that is the parent of a container's."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
