"""A node's credentials as somebody else has laid them out for it: a Kubernetes Secret of cert-manager, mounted.

kubelet writes such files as root, readable by the pod's group, and exchanges all of them at once: the folder's
``..data`` is a link to the folder of the moment. `private_files.py` would refuse that, rightly so for what a program
has written itself. Here the question is another one: can anybody but root and this user have changed these files, or
anybody but them and this process's own groups have read the key? If so, they are refused.

A secret that somebody has put into a file for this program, such as a ticket, is read by the same rules.

Source: kubelet's ``AtomicWriter`` and ``SetVolumeOwnership``; the layout is that of ``kubernetes.io/tls``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..errors import IdentityError
from .private_files import check_private, read_plain

MOUNTED_KEY: Final = "tls.key"
_LARGEST_FILE: Final = 1024 * 1024
"""What a Secret can hold."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """The files of one moment, as PEM. `crl` is None if there is none."""

    key: bytes = field(repr=False)
    certificate: bytes
    ca: bytes
    crl: bytes | None


def read_mounted(folder: Path) -> Mounted:
    """Return the files of a folder, all of one moment.

    Raises:
        IdentityError: One is not there, or others could have changed it or read the key; or the files were exchanged
            while they were read: read again.
    """
    with _opened(folder) as within:
        return Mounted(
            _read(folder, MOUNTED_KEY, within, is_secret=True),
            _read(folder, "tls.crt", within),
            _read(folder, "ca.crt", within),
            _read(folder, "ca.crl", within) if _is_there("ca.crl", within) else None,
        )


def _is_there(name: str, within: int) -> bool:
    try:
        os.stat(name, dir_fd=within, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def read_secret(path: Path) -> bytes:
    """Return what a file holds that was laid out for this program: by its user, or by root in a volume.

    A file of this user's is closed to all others; one of root's may be readable by a group of this process.

    Raises:
        IdentityError: It cannot be read, or others could have read or changed it; or the files of a volume were
            exchanged while it was read: read again.
    """
    data = path.parent / "..data"
    if data.is_symlink():
        with _opened(path.parent) as within:
            return _read(path.parent, path.name, within, is_secret=True)

    def check(state: os.stat_result, descriptor: int) -> None:
        if state.st_uid == os.geteuid():
            check_private(state, path, wanted=0o600)
        _check_unchanged(state, path, descriptor)
        _check_unread(state, path)

    return read_plain(path, check, _LARGEST_FILE)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Have the folder open that has the files of this moment."""
    data = folder / "..data"
    try:
        there = (data if data.is_symlink() else folder).resolve(strict=True)
        within = os.open(there, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise IdentityError(f"folder {str(folder)!r} cannot be used: {error.strerror}", reason="files") from error
    try:
        _check_unchanged(os.fstat(within), folder, within)
        yield within
    finally:
        os.close(within)


def _read(folder: Path, name: str, within: int, *, is_secret: bool = False) -> bytes:
    path = folder / name

    def check(state: os.stat_result, descriptor: int) -> None:
        _check_unchanged(state, path, descriptor)
        if is_secret:
            _check_unread(state, path)

    return read_plain(path, check, _LARGEST_FILE, within=within)


def _check_unchanged(state: os.stat_result, path: Path, descriptor: int) -> None:
    """Check that nobody but root and this user can have changed a file or folder."""
    if state.st_uid not in (0, os.geteuid()):
        raise IdentityError(
            f"{str(path)!r} belongs to user {state.st_uid}, who can change it; expected root, or this process's user "
            f"{os.geteuid()}",
            reason="files",
        )
    mode = stat.S_IMODE(state.st_mode)
    is_read_only = bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)
    if mode & 0o022 and not is_read_only:
        raise IdentityError(f"{str(path)!r} has mode {mode:04o}, so others may change it", reason="files")


def _check_unread(state: os.stat_result, path: Path) -> None:
    """Check that nobody but root, this user and this process's groups can have read a file."""
    mode = stat.S_IMODE(state.st_mode)
    if mode & 0o007 or (mode & 0o070 and state.st_gid not in (os.getegid(), *os.getgroups())):
        raise IdentityError(
            f"{str(path)!r} has mode {mode:04o} and group {state.st_gid}, so others on this machine may read it; "
            "expected 0440 with a group of this process (fsGroup and defaultMode 0440 of a pod), 0400 or 0600",
            reason="files",
        )
