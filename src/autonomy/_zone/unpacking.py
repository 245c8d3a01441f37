"""A worker from another node, made again at the node that is to run it, if its policy lets it.

The rule of this file: everything that can be checked without running foreign code is checked before any is imported or
run. Who may ship at all is for the caller to ask, of `Rights`. The other end is `packing`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Literal

from .._sansio import plain, shipment
from .._sansio.shipment import CodePolicy, Kind, Manifest
from ..errors import CodeRefused
from .shipped_modules import module_of, trace_of
from .slicing import imports_of, slice_of
from .sources import UNREADABLE, is_nameless, is_standard, is_there, text_by_name, text_digest


@dataclass(frozen=True, slots=True)
class Accepted:
    """A shipment that was taken.

    Attributes:
        worker: The object, class, partial or function that `pack` was given, made anew.
        code: Its class or function, as the sender names it, ``"__main__.Greeter"``. It is safe to log.
        sha256: Of the source that defines it.
        mode: Whether this node imported its own copy of it, or ran the source.
    """

    worker: object
    code: str
    sha256: str
    mode: Literal["import", "source"]


def unpack(data: bytes, policy: CodePolicy) -> Accepted:
    """Return the worker that another node has packed.

    Foreign code runs in the meantime, in this thread: at least the top of a module, and ``__setstate__``.

    Args:
        data: What `pack` returned there.
        policy: What this node takes.

    Raises:
        CodeRefused: The bytes are no shipment, the policy is against it, something that it needs is not here, or its
            code raised. The text is for the sender, and for a log that escapes it.
    """
    if policy.mode == "never":
        raise CodeRefused("this node takes no code: its CodePolicy is 'never'")
    manifest = shipment.decode(data)
    state = plain.decode(manifest.state)
    _check_state(manifest.kind, state)
    difference = _difference(manifest, policy)
    if not difference:
        module = _import(manifest.module)
    elif policy.mode == "import":
        raise CodeRefused(f"this node takes only code that it can import itself, and {difference}")
    elif manifest.mode == "import":
        raise CodeRefused(f"{difference}, and its source did not come along, for {manifest.reason}")
    else:
        _check_imports(manifest)
        module = module_of(manifest.source, manifest.python)
    worker = _made(_found(module, manifest, policy), manifest, state)
    code = f"{manifest.module}.{manifest.qualname}"
    return Accepted(worker, code, manifest.sha256, "source" if difference else "import")


def _check_state(kind: Kind, state: object) -> None:
    match kind, state:
        case "object", _:
            return
        case "partial", (tuple(), dict(names)) if all(isinstance(name, str) for name in names):
            return
        case (("class" | "function"), None):
            return
    raise CodeRefused(f"the shipment of a {kind} has a state that is none")


def _difference(manifest: Manifest, policy: CodePolicy) -> str:
    """Return why this node's own copy of a class cannot stand for the sender's, or nothing if it can."""
    name, code = manifest.module, f"{manifest.module}.{manifest.qualname}"
    if is_nameless(name) or is_standard(name):
        return f"{code} is in no module that another node could import"
    if policy.mode == "import" and name.partition(".")[0] not in policy.modules:
        return f"{code} is in none of the packages that its CodePolicy names"
    text = text_by_name(name)
    if text is None:
        return f"there is no source of a module {name!r} here"
    try:
        sliced = slice_of(text, manifest.qualname.partition(".")[0])
    except UNREADABLE:
        return f"the module {name!r} cannot be read here"
    if shipment.digest(sliced.text) != manifest.sha256:
        return f"{code} reads differently here"
    return _missing_needs(manifest)


def _missing_needs(manifest: Manifest) -> str:
    for name, sha256 in manifest.needs.items():
        text = text_by_name(name)
        if text is None:
            return f"the module {name!r}, which it imports, is not here"
        if text_digest(text) != sha256:
            return f"the module {name!r}, which it imports, reads differently here"
    return ""


def _check_imports(manifest: Manifest) -> None:
    """Refuse a source that imports what is not here, or not the same."""
    code = f"{manifest.module}.{manifest.qualname}"
    if missing := _missing_needs(manifest):
        raise CodeRefused(f"{code} cannot run here: {missing}. Install it on this node, or move it beside the class.")
    try:
        imports = imports_of(manifest.source)
    except UNREADABLE:
        return  # which running it says better
    for each in imports:
        if not is_there(each.module):
            raise CodeRefused(
                f"{code} cannot run here: {each.module!r} is not here ({each.text:.200}). Install it on this node."
            )


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        raise CodeRefused(f"importing {name} failed here:\n{trace_of(error)}") from error


def _found(module: ModuleType, manifest: Manifest, policy: CodePolicy) -> type | FunctionType:
    """Return the class or function in a module, which must be its own and no other that happens to be there."""
    found: object = module
    for part in manifest.qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    own = getattr(found, "__module__", None) == module.__name__
    same = getattr(found, "__qualname__", None) == manifest.qualname
    if manifest.kind == "function":
        if isinstance(found, FunctionType) and own and same and policy.mode == "source":
            return found
    elif isinstance(found, type) and own and same and callable(getattr(found, "handle_message", None)):
        return found
    wanted = "function" if manifest.kind == "function" else "class with a method handle_message"
    raise CodeRefused(f"{manifest.module}.{manifest.qualname} is no {wanted} of that module that this node takes")


def _made(target: type | FunctionType, manifest: Manifest, state: object) -> object:
    if manifest.kind == "partial":
        assert isinstance(state, tuple)
        return partial(target, *state[0], **state[1])
    if manifest.kind != "object":
        return target
    assert isinstance(target, type)
    try:
        worker: object = object.__new__(target)
        _restore(worker, state)
    except (Exception, SystemExit) as error:
        raise CodeRefused(f"an object of {manifest.qualname} cannot be made here:\n{trace_of(error)}") from error
    return worker


def _restore(worker: object, state: object) -> None:
    """Give an object its state as `copy` does: by its ``__setstate__``, or attribute by attribute."""
    if state is None:
        return
    if callable(restore := getattr(type(worker), "__setstate__", None)):
        restore(worker, state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        vars(worker).update({sys.intern(name): value for name, value in attributes.items()})
    for name, value in (slots or {}).items():
        object.__setattr__(worker, name, value)  # also if the class forbids changes, as a frozen dataclass does
