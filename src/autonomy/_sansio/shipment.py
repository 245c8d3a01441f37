"""What one node sends to have another one run a worker of its making, and what a node takes of that.

A `Manifest` names a class, says how it reads, and carries the plain data of one object of it. It holds both a name to
import and, in mode ``source``, the source, so that one message is enough: whoever gets it prefers its own copy of the
class if that reads the same. Nothing here imports or runs anything; `_zone/packing.py` and `_zone/unpacking.py` do.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

import msgspec

from ..errors import CodeRefused
from .codec import UNREADABLE

CodeMode = Literal["never", "import", "source"]
Kind = Literal["object", "class", "partial", "function"]
"""What arrives: a worker; its class, or that with arguments, for `Restart` to make workers from; or a function that
makes them."""

MAX_CODE_BYTES: Final = 2**20
"""Source and state together."""
_MAX_REST: Final = 2**17
"""Everything else in a manifest."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


@dataclass(frozen=True, slots=True)
class CodePolicy:
    """Which code a node takes from those that its `Rights` let ship.

    Args:
        mode: ``"never"``: none. ``"import"``: classes that this node can import itself, from `modules`, if they read
            the same as the sender's. ``"source"``: any; what this node does not have itself is run from source.
            **Shipped code runs with the node's full rights.**
        modules: Top-level packages that ``"import"`` may import from.

    Raises:
        TypeError: A value is of another type.
        ValueError: No such mode, or a module that is not the name of a top-level package.

    Example:
        ```python
        CodePolicy("import", modules=["shop"])
        ```
    """

    mode: CodeMode = "never"
    modules: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.mode not in get_args(CodeMode):
            raise ValueError(f'CodePolicy: mode must be "never", "import" or "source", got {self.mode!r:.80}')
        if not isinstance(self.modules, (list, tuple)) or not all(isinstance(each, str) for each in self.modules):
            raise TypeError(f"CodePolicy: modules must be a list of names of packages, got {self.modules!r:.80}")
        object.__setattr__(self, "modules", tuple(self.modules))
        for each in self.modules:
            if not each.isidentifier() or each == "__main__" or each in sys.stdlib_module_names:
                raise ValueError(
                    f"CodePolicy: {each!r:.80} cannot be in modules. "
                    "Write top-level packages such as 'shop'; neither '__main__' nor those of Python itself."
                )


NO_CODE: Final = CodePolicy()
"""No code is taken."""


NEVER: Final = CodePolicy()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One worker on its way.

    Attributes:
        mode: ``"source"``: `source` is there. ``"import"``: only the name is, and `reason` says why.
        kind: What arrives.
        module: Where the sender imported it from; ``"__main__"`` if it did not.
        qualname: Its name in there, with dots if it is nested.
        state: Plain data: of an object what ``__getstate__`` returned, of a partial its arguments.
        source: What is to be run for it.
        reason: Why there is no source.
        sha256: Of the source, even if that is not there.
        needs: Modules from the sender's own folders that it imports, and the SHA-256 of each.
        python: The sender's version, ``"3.12"``.
    """

    mode: Literal["import", "source"]
    kind: Kind
    module: _Name
    qualname: _Name
    state: bytes
    source: str
    reason: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    sha256: _Digest
    needs: Annotated[dict[_Name, _Digest], msgspec.Meta(max_length=100)] = {}  # msgspec makes a new one
    python: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,2}\.[0-9]{1,3}\Z")]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Manifest)


def digest(source: str) -> str:
    """Return the SHA-256 of a source."""
    return hashlib.sha256(source.encode()).hexdigest()


def encode(manifest: Manifest) -> bytes:
    """Return a manifest as bytes.

    Raises:
        CodeRefused: It is too large.
    """
    data = _encoder.encode(manifest)
    _check_size(manifest, data)
    return data


def decode(data: bytes) -> Manifest:
    """Return the manifest in these bytes, whose names are names and whose source is the one it claims to be.

    Raises:
        CodeRefused: They are none, or one that is too large or contradicts itself.
    """
    if len(data) > MAX_CODE_BYTES + _MAX_REST:
        raise CodeRefused(f"the shipment has {len(data):,} bytes, at most {MAX_CODE_BYTES + _MAX_REST:,} are taken")
    try:
        manifest = _decoder.decode(data)
    except UNREADABLE as error:
        raise CodeRefused(f"the shipment cannot be read: {error}") from None
    _check_size(manifest, data)
    for name in (manifest.module, manifest.qualname, *manifest.needs):
        if not all(part.isidentifier() for part in name.split(".")):
            raise CodeRefused(f"the shipment names {name!r:.80}, which is no name")
    if (manifest.mode == "source") != bool(manifest.source):
        raise CodeRefused(
            f"the shipment is in mode {manifest.mode!r} and its source has {len(manifest.source)} characters"
        )
    if manifest.source and digest(manifest.source) != manifest.sha256:
        raise CodeRefused("the source in the shipment is not the one whose SHA-256 it names")
    return manifest


def _check_size(manifest: Manifest, data: bytes) -> None:
    source = len(manifest.source.encode())
    if source + len(manifest.state) > MAX_CODE_BYTES:
        raise CodeRefused(
            f"{manifest.qualname:.80} has {source:,} bytes of source and {len(manifest.state):,} of state, "
            f"together at most {MAX_CODE_BYTES:,} travel. Let the worker fetch its data in on_start."
        )
    if len(data) - source - len(manifest.state) > _MAX_REST:
        raise CodeRefused("the shipment has too many names")
