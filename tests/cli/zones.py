"""Zones in folders, and the command as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.zones import processes_of

DOCKERFILE = 'FROM ghcr.io/build-trust/autonomy-python\nCOPY . .\nENTRYPOINT ["python", "main.py"]\n'


def command(*words: str) -> list[str]:
    """Return the command as this interpreter runs it."""
    return [sys.executable, "-m", "autonomy", *words]


class Zone:
    """A folder with a zone file and images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, image: str, program: str) -> None:
        """Give an image a program."""
        place = self.folder / "images" / image
        place.mkdir(parents=True, exist_ok=True)
        (place / "Dockerfile").write_text(DOCKERFILE)
        (place / "main.py").write_text(program)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ``autonomy zone`` in the folder."""
        return subprocess.run(
            command("zone", *words),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def processes(self) -> list[int]:
        """Return the processes that have anything to do with this machine's zones."""
        return processes_of(Path(os.environ["AUTONOMY_HOME"]))


@contextmanager
def make_zone(folder: Path, pods: str, **images: str) -> Generator[Zone]:
    """Make a folder with a zone; whatever becomes of it is gone at the end."""
    folder.mkdir()
    (folder / "autonomy.yaml").write_text(pods)
    zone = Zone(folder)
    for image, program in images.items():
        zone.write(image, program)
    try:
        yield zone
    finally:
        zone.run("delete", "--yes")
