"""Files that hold secrets: what is read, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autonomy.errors import IdentityError
from autonomy.identity.private_files import read_private, write_private


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_private(tmp_path / "file", b"secret")

    assert read_private(tmp_path / "file") == b"secret"


@pytest.mark.parametrize("what", ["a folder", "a pipe"])
def test_what_is_no_file_is_refused_in_a_sentence_and_nothing_stays_open(tmp_path: Path, what: str) -> None:
    path = tmp_path / "there"
    if what == "a folder":
        path.mkdir(mode=0o700)
    else:
        os.mkfifo(path, 0o600)
    before = _open_descriptors()

    for _ in range(3):
        with pytest.raises(IdentityError, match="is not a plain file") as caught:
            read_private(path)
        assert caught.value.reason == "files"

    assert _open_descriptors() == before


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    write_private(tmp_path / "file", b"secret")
    (tmp_path / "file").chmod(mode)

    with pytest.raises(IdentityError, match=f"has mode {mode:04o}, so others on this machine may use it"):
        read_private(tmp_path / "file")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    write_private(tmp_path / "file", b"secret")
    (tmp_path / "link").symlink_to("file")

    with pytest.raises(IdentityError, match="cannot be read"):
        read_private(tmp_path / "link")
