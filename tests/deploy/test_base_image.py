"""The base image, as far as it can be looked at without a container engine."""

from __future__ import annotations

import re
from pathlib import Path

from autonomy._deploy.dockerfile import _instructions
from autonomy._deploy.manifests import USER

DOCKERFILE = Path("images/base/Dockerfile")


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, as the reader of zones parts them."""
    return [(each.word, each.rest) for each in _instructions(DOCKERFILE.read_text(), str(DOCKERFILE))]


def test_it_runs_as_the_user_that_manifests_name() -> None:
    words = dict(instructions())

    assert words["USER"] == f"{USER}:{USER}"
    assert instructions()[-1][0] == "USER"
    assert f"--uid {USER} " in DOCKERFILE.read_text()


def test_it_copies_what_is_there_and_nothing_else() -> None:
    sources = [each for word, rest in instructions() if word == "COPY" for each in rest.split()[:-1]]

    assert sources == ["pyproject.toml", "README.md", "LICENSE", "src"]
    assert all(Path(each).exists() for each in sources)


def test_it_names_a_python_that_the_library_runs_on() -> None:
    version = re.fullmatch(r"python:(3\.[0-9]+)-slim", dict(instructions())["FROM"])

    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in Path("pyproject.toml").read_text()
