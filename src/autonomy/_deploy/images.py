"""Copies of images: one of each image for the zone, named for what it holds, and one of that for each container.

The rule of this file: a copy is whole or not there, and holds nothing from outside of the image's folder. The digest
of what it holds says whether an image has changed since.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import DeployFailed
from .recipe import CopyRule, Recipe

_LEFT_OUT = frozenset({"__pycache__", ".git"})
"""What tools put beside a program; it is no part of an image, so a changed one changes nothing."""


def keep_image(source: Path, images: Path) -> Path:
    """Copy an image's folder below `images`, under its digest, unless that is there; return the copy.

    Raises:
        DeployFailed: It holds links that lead out of it, or things that are neither files nor folders.
    """
    draft = images / f".{secrets.token_hex(8)}"
    draft.mkdir(mode=0o700, parents=True)
    try:
        digest = _copy_tree(source, draft)
        kept = images / digest
        if not kept.exists():
            draft.rename(kept)
    except OSError as error:
        raise DeployFailed(f"image {source.name!r} cannot be copied: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return kept


def lay_out(kept: Path, recipe: Recipe, root: Path) -> Path:
    """Make a container's root folder as its Dockerfile says; return the folder to run its program in.

    Raises:
        DeployFailed: A file that the Dockerfile copies is not in the image.
    """
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o700, parents=True)
    try:
        for rule in recipe.copies:
            _follow(rule, kept, root)
        workdir = below(root, recipe.workdir)
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeployFailed(f"the files of {str(root.name)!r} cannot be laid out: {error}") from error
    return workdir


def below(root: Path, path: str) -> Path:
    """Return where a path of the container is on this machine."""
    return root / path.lstrip("/")


def mapped(argument: str, root: Path) -> str:
    """Return an argument of a program, with the real path for one that names something in the container."""
    if not argument.startswith("/") or argument == "/":
        return argument
    real = below(root, argument)
    return str(real) if real.exists() else argument


def _copy_tree(source: Path, target: Path) -> str:
    """Copy all that is below `source`, and return the digest of it."""
    digest = hashlib.sha256()
    for path, state in _walk(source):
        relative, copy = path.relative_to(source), target / path.relative_to(source)
        if stat.S_ISLNK(state.st_mode):
            content = str(path.readlink()).encode()
            _check_link(path, source)
            copy.symlink_to(path.readlink())
        elif stat.S_ISDIR(state.st_mode):
            content = b""
            copy.mkdir(mode=0o700)
        elif stat.S_ISREG(state.st_mode):
            content = _copy_file(path, copy)
        else:
            raise DeployFailed(f"image {source.name!r}: {str(relative)!r} is neither a file nor a folder")
        kind = stat.S_IFMT(state.st_mode) | (state.st_mode & 0o111)
        digest.update(f"{kind:o} {len(str(relative))} {relative} {len(content)} ".encode(errors="surrogateescape"))
        digest.update(content)
    return digest.hexdigest()[:32]


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below a folder, folders before what is in them, in an order that depends on the names alone."""
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        state = path.lstat()
        yield path, state
        if stat.S_ISDIR(state.st_mode):
            yield from _walk(path)


def _copy_file(path: Path, copy: Path) -> bytes:
    """Copy a file; return the digest of what was copied."""
    digest = hashlib.sha256()
    with path.open("rb") as source, copy.open("xb") as target:
        while block := source.read(2**20):
            digest.update(block)
            target.write(block)
        os.fchmod(target.fileno(), 0o700 if os.fstat(source.fileno()).st_mode & 0o100 else 0o600)
    return digest.digest()


def _check_link(path: Path, root: Path) -> None:
    target = path.readlink()
    inside = not target.is_absolute() and path.resolve().is_relative_to(root.resolve())
    if not inside:
        raise DeployFailed(
            f"image {root.name!r}: link {str(path.relative_to(root))!r} leads to {str(target)!r:.200}, out of the image"
        )


def _follow(rule: CopyRule, kept: Path, root: Path) -> None:
    destination = below(root, rule.destination)
    for name in rule.sources:
        source = kept / name
        if source.is_dir():
            shutil.copytree(source, destination, symlinks=True, dirs_exist_ok=True)
        elif source.is_file():
            target = destination / source.name if rule.into else destination
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            raise DeployFailed(f"the Dockerfile copies {name!r}, which is not in the image")
