"""Copies of images: what is in them, when they are new ones, and what becomes of them in a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autonomy._deploy.containers import read_tail
from autonomy._deploy.images import keep_image, lay_out, mapped
from autonomy._deploy.recipe import CopyRule, Recipe
from autonomy.errors import DeployFailed


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with a program, a tool and a link."""
    folder = tmp_path / "image"
    (folder / "lib").mkdir(parents=True)
    (folder / "main.py").write_text("print(1)")
    (folder / "lib" / "tool").write_text("#!/bin/sh")
    (folder / "lib" / "tool").chmod(0o755)
    (folder / "link").symlink_to("lib/tool")
    return folder


def recipe(*copies: CopyRule, workdir: str = "/") -> Recipe:
    """Return what a Dockerfile with these copies says."""
    return Recipe(copies, (), workdir, ("python", "main.py"))


def test_a_copy_has_the_name_of_what_it_holds(image: Path, tmp_path: Path) -> None:
    first = keep_image(image, tmp_path / "kept")
    again = keep_image(image, tmp_path / "kept")
    (image / "main.py").write_text("print(2)")
    changed = keep_image(image, tmp_path / "kept")
    (image / "main.py").chmod(0o755)
    runnable = keep_image(image, tmp_path / "kept")

    assert first == again
    assert len({first, changed, runnable}) == 3
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(
        [first.name, changed.name, runnable.name]
    )
    assert (first / "main.py").read_text() == "print(1)"
    assert os.access(first / "link", os.X_OK)


def test_what_tools_leave_behind_is_no_part_of_an_image(image: Path, tmp_path: Path) -> None:
    before = keep_image(image, tmp_path / "kept")
    for name in ("__pycache__", ".git", "lib/__pycache__"):
        (image / name).mkdir()
        (image / name / "anything").write_text("anything")

    assert keep_image(image, tmp_path / "kept") == before


@pytest.mark.parametrize("target", ["/etc/passwd", "../../other", "../lib/../../other", "../../image/../other"])
def test_a_link_that_leads_out_is_refused(image: Path, tmp_path: Path, target: str) -> None:
    (image / "lib" / "out").symlink_to(target)

    with pytest.raises(DeployFailed, match=r"image 'image': link 'lib/out' leads to .*, out of the image"):
        keep_image(image, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_what_is_neither_file_nor_folder_is_refused(image: Path, tmp_path: Path) -> None:
    os.mkfifo(image / "pipe")

    with pytest.raises(DeployFailed, match="image 'image': 'pipe' is neither a file nor a folder"):
        keep_image(image, tmp_path / "kept")


def test_an_image_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DeployFailed, match="image 'nothing' cannot be copied"):
        keep_image(tmp_path / "nothing", tmp_path / "kept")


@pytest.mark.parametrize(
    ("rule", "there"),
    [
        (CopyRule((".",), "/app", into=True), ["app/lib/tool", "app/link", "app/main.py"]),
        (CopyRule(("lib",), "/app", into=False), ["app/tool"]),
        (CopyRule(("main.py",), "/app", into=True), ["app/main.py"]),
        (CopyRule(("main.py",), "/app", into=False), ["app"]),
        (CopyRule(("main.py", "lib"), "/", into=True), ["main.py", "tool"]),
    ],
)
def test_files_are_laid_out_as_docker_would(image: Path, tmp_path: Path, rule: CopyRule, there: list[str]) -> None:
    root = tmp_path / "root"

    folder = lay_out(image, recipe(rule, workdir="/work"), root)

    assert folder == root / "work"
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()) == there


def test_a_container_s_folder_is_laid_out_anew(image: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    rule = CopyRule((".",), "/", into=True)
    (lay_out(image, recipe(rule), root) / "left").write_text("behind")

    assert not (lay_out(image, recipe(rule), root) / "left").exists()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (CopyRule(("nothing",), "/", into=True), "the Dockerfile copies 'nothing', which is not in the image"),
        (CopyRule(("main.py",), "/app/deep", into=False), "the files of 'root' cannot be laid out"),
    ],
)
def test_what_cannot_be_laid_out_is_said_so(image: Path, tmp_path: Path, rule: CopyRule, said: str) -> None:
    first = CopyRule(("main.py",), "/app", into=False)

    with pytest.raises(DeployFailed, match=said):
        lay_out(image, recipe(first, rule), tmp_path / "root")


def test_arguments_that_name_something_in_the_container_are_mapped(image: Path) -> None:
    arguments = ["/main.py", "/etc/passwd", "main.py", "/", "--file=/main.py"]

    assert [mapped(each, image) for each in arguments] == [str(image / "main.py"), *arguments[1:]]


def test_the_end_of_a_log_is_its_last_lines_without_what_could_drive_a_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(5000)) + "\x1b[2Jred\n")

    lines = read_tail(log).splitlines()

    assert lines[0] == "; the end of its log:"
    assert lines[1:] == [*(f"    line {number}" for number in range(4981, 5000)), r"    \x1b[2Jred"]
    assert read_tail(log, log.stat().st_size - 4) == "; the end of its log:\n    red"
    assert read_tail(log, log.stat().st_size) == "; it wrote nothing"
    assert read_tail(tmp_path / "none").endswith("cannot be read: No such file or directory")
