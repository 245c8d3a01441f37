"""Disks that are full: what the library writes for a simulated host, its keys and certificates, fails half-way."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import IO
from unittest.mock import patch

from ..identity import private_files


@contextmanager
def full_disks(is_full: Callable[[], bool]) -> Generator[None]:
    """Let writing fail while the block runs, with half of it written, where and when `is_full` says so."""
    store = private_files.store

    def store_half(file: IO[bytes], content: bytes) -> None:
        if not is_full():
            store(file, content)
            return
        store(file, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch.object(private_files, "store", store_half):
        yield
