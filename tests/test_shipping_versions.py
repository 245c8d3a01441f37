"""A class goes from the program of one Python to a node on another; and slices are the same on all (F2)."""

from __future__ import annotations

import base64
import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import autonomy
from autonomy._sansio import shipment
from autonomy._zone.slicing import slice_of

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = Path(autonomy.__file__).parents[1]
PROGRAM = '''
"""A program as people write them: its worker lives in __main__, and nothing guards its last line."""
from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from autonomy import Context, Node
from autonomy._zone.packing import pack

LIMIT = 3


def doubled(number: int) -> int:
    return number * LIMIT  # not quite


@dataclass
class Job:
    name: str
    size: int = field(default=LIMIT)


class Base:
    def tail(self) -> str:
        return f"{self.mark!r:>4} {'é' + f"{1:>{2}}"}" if False else "tail"


class Worker(Base):
    def __init__(self) -> None:
        self.seen = {("a", 1), ("b", 2**70)}
        self.raw = b"\\x00"

    async def handle_message(self, context: Context, message: str) -> str:
        match json.loads(message):
            case {"boom": True}:
                raise ValueError("boom")  # on purpose
            case other:
                return f"{Job(other)} {doubled(2)} {sorted(self.seen)} {self.raw!r} {super().tail()}"


async def main(node: Node) -> None:
    print("main ran")
    print(base64.b64encode(pack(Worker())).decode())


Node.start(main, wait_until_interrupted=False)
'''.replace("""f"{self.mark!r:>4} {'é' + f"{1:>{2}}"}" if False else "tail\"""", '''f"{'é':>4}"''')
FAR = """
import base64, sys, traceback
from autonomy import CodePolicy
from autonomy._zone.unpacking import unpack

def run(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        return stopped.value

worker = unpack(base64.b64decode(sys.stdin.read()), CodePolicy("source")).worker
print(run(worker.handle_message(None, '"x"')))
try:
    run(worker.handle_message(None, '{"boom": true}'))
except ValueError:
    print("on purpose" in traceback.format_exc())
"""
ANSWER = "Job(name='x', size=3) 6 [('a', 1), ('b', 1180591620717411303424)] b'\\x00'    é\nTrue"
BARE = """
import sys, types
package = types.ModuleType("bare")
package.__path__ = [sys.argv[1]]
sys.modules["bare"] = package
from bare.slicing import slice_of
sys.stdout.buffer.write(slice_of(sys.stdin.buffer.read().decode(), "Worker").text.encode())
"""


def run(python: str, *arguments: str, text: str = "") -> str:
    """Return what a program prints."""
    done = subprocess.run(
        [python, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        encoding="utf-8",
        env={"PYTHONPATH": str(PACKAGES), "PYTHONUTF8": "1", "AUTONOMY_LOG_LEVEL": "ERROR"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@functools.cache
def found(version: str, module: str) -> str | None:
    """Return a Python of that version that has a module, if this machine has one."""
    candidates = [*Path(sys.prefix).parent.glob(".venv*/bin/python"), Path(shutil.which(f"python{version}") or "")]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
        candidates += sorted(Path(root).glob(f"versions/{version}*/bin/python"))
    test = f"import sys, {module}; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    for python in candidates:
        if python.is_file() and not subprocess.run([python, "-c", test], capture_output=True, check=False).returncode:
            return str(python)
    return None


def python_of(version: str, module: str) -> str:
    """Return such a Python, or skip the test."""
    python = sys.executable if version == HERE else found(version, module)
    if python is None:
        pytest.skip(f"there is no Python {version} with {module} on this machine")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("receiver", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("sender", ["3.11", "3.12", "3.13"])
def test_a_worker_of_main_goes_from_one_version_to_another(tmp_path: Path, sender: str, receiver: str) -> None:
    near, far = python_of(sender, "msgspec"), python_of(receiver, "msgspec")
    (tmp_path / "main.py").write_text(PROGRAM, encoding="utf-8")

    ran, data = run(near, str(tmp_path / "main.py")).splitlines()[-2:]
    answer = run(far, "-c", FAR, text=data)

    assert ran == "main ran"
    assert answer == ANSWER
    manifest = shipment.decode(base64.b64decode(data))
    assert (manifest.module, manifest.python) == ("__main__", sender)
    assert "main" not in manifest.source.replace("__main__", "")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_slices_are_the_same_on_every_version(version: str) -> None:
    python = python_of(version, "ast")
    folder = str(Path(autonomy.__file__).parent / "_zone")

    assert run(python, "-c", BARE, folder, text=PROGRAM) == slice_of(PROGRAM, "Worker").text.strip()
