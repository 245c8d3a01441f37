"""Files that hold secrets, in folders that nobody else may enter.

Written whole or not at all, never through a link that somebody else has put there, and never read where others could
have read or written them: a key that leaked must not be used, and saying so is the only way to get it replaced.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import IdentityError

_LARGEST_FILE = 16 * 1024 * 1024


def make_private_folder(folder: Path) -> None:
    """Make a folder, mode 0700, unless it is there; then check it.

    Raises:
        IdentityError: It belongs to another user, or others may enter it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private_folder(folder)


def check_private_folder(folder: Path) -> None:
    """Check that a folder belongs to this user and that nobody else may enter it.

    Raises:
        IdentityError: It is not there, or it is otherwise; the text says what to do.
    """
    try:
        state = folder.stat()
    except OSError as error:
        raise IdentityError(f"folder {str(folder)!r} cannot be used: {error.strerror}", reason="files") from error
    if not stat.S_ISDIR(state.st_mode):
        raise IdentityError(f"{str(folder)!r} is not a folder", reason="files")
    check_private(state, folder, wanted=0o700)


def read_private(path: Path) -> bytes:
    """Return what a secret file holds.

    Raises:
        IdentityError: It is not there, is no plain file, belongs to another user, or others may read or write it.
    """
    return read_plain(path, lambda state, _: check_private(state, path, wanted=0o600), _LARGEST_FILE)


def read_plain(
    path: Path, check: Callable[[os.stat_result, int], None], largest: int, *, within: int | None = None
) -> bytes:
    """Return what a plain file holds, of which `check` was given the state and the descriptor.

    Args:
        path: What it is called.
        check: Raises IdentityError if it must not be used.
        largest: Bytes that it may have.
        within: Descriptor of the folder that has it; None to look for it by its whole path.

    Raises:
        IdentityError: It is not there, is no plain file, or is too large; or `check` objects.
    """
    # O_NONBLOCK: opening a pipe that somebody has put there would wait for ever.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path if within is None else path.name, flags, dir_fd=within)
    except OSError as error:
        raise IdentityError(f"{str(path)!r} cannot be read: {error.strerror}", reason="files") from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise IdentityError(f"{str(path)!r} is not a plain file", reason="files")
        check(state, descriptor)
        if state.st_size > largest:
            raise IdentityError(f"{str(path)!r} has {state.st_size} bytes, at most {largest} are read", reason="files")
        # Not before it is known to be a file: fdopen raises for a folder, and leaves the descriptor open.
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(largest)
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Put `content` into a file, mode 0600, in place of what was there; after a crash it holds one or the other.

    Raises:
        OSError: The file could not be written. What was there still is.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            store(file, content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def append_private(path: Path, line: bytes) -> None:
    """Add a line to a file, mode 0600; on return it is on the disk. A line cut short by a crash is closed first."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        state = os.fstat(descriptor)
        check_private(state, path, wanted=0o600)
        torn = state.st_size > 0 and os.pread(descriptor, 1, state.st_size - 1) != b"\n"
        store(file, b"\n" * torn + line + b"\n")
    _sync_folder(path.parent)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Be the one who works on a folder's files, among processes and threads. Not to be entered twice."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def store(file: IO[bytes], content: bytes) -> None:
    """Write; on return it is on the disk. Simulations let this fail."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def check_private(state: os.stat_result, path: Path, *, wanted: int) -> None:
    """Check that what has this state is this user's and closed to all others; else raise IdentityError."""
    if state.st_uid != os.geteuid():
        raise IdentityError(
            f"{str(path)!r} belongs to user {state.st_uid}, and this process is user {os.geteuid()}: whoever owns it "
            f"can change it. Give it to user {os.geteuid()}, or make new credentials.",
            reason="files",
        )
    mode = stat.S_IMODE(state.st_mode)
    if mode & 0o077:
        raise IdentityError(
            f"{str(path)!r} has mode {mode:04o}, so others on this machine may use it; expected {wanted:04o}. "
            f"If nobody can have read it, 'chmod {wanted:o} {path}'; else make new credentials.",
            reason="files",
        )


def _sync_folder(folder: Path) -> None:
    # A rename is on the disk only when the folder is.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
