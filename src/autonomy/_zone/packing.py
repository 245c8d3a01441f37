"""A worker made ready to go to another node, at the node that sends it.

Whatever cannot go is refused here, before anything is sent, and the refusal names it. Nothing is pickled: the class
goes as its name and its source, its object as plain data. The other end is `unpacking`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from .._sansio import plain, shipment
from .._sansio.shipment import Kind, Manifest
from ..errors import CodeRefused
from .slicing import Slice, imports_of, slice_of
from .sources import UNREADABLE, is_nameless, is_program_s_own, is_standard, text_digest, text_of

_MAX_REASON = 1_000


def pack(worker: object) -> bytes:
    """Return what another node needs to run this worker: `unpack` there makes it again.

    The object stays as it is, and is not the one that will run. Of two attributes that are one object, two are made.

    Args:
        worker: An object that handles messages; or, for `Restart`, its class, a `functools.partial` of its class with
            plain arguments, or a function at the top of a module.

    Raises:
        CodeRefused: It cannot be shipped; the text names the attribute or the import at fault, and a remedy.
    """
    kind, target = _kind_of(worker)
    name = getattr(target, "__qualname__", "")
    module = _module_of(target, name)
    state = _state_of(worker, kind, name)
    sliced = _sliced(module, name)
    if sliced.problem and (is_nameless(module.__name__) or is_standard(module.__name__)):
        raise CodeRefused(f"{name} cannot be shipped: {sliced.problem}.")
    manifest = Manifest(
        mode="import" if sliced.problem else "source",
        kind=kind,
        module=module.__name__,
        qualname=name,
        state=state,
        source="" if sliced.problem else sliced.text,
        reason=sliced.problem[:_MAX_REASON],
        sha256=shipment.digest(sliced.text),
        needs=_needs(sliced.text),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )
    return shipment.encode(manifest)


def _kind_of(worker: object) -> tuple[Kind, type | FunctionType]:
    """Return what is to be shipped, and the class or function that it comes from."""
    if type(worker) is partial:
        if not isinstance(worker.func, type):
            raise CodeRefused(f"a partial of {worker.func!r:.80} cannot be shipped, only one of a class")
        return "partial", _check_class(worker.func)
    if isinstance(worker, type):
        return "class", _check_class(worker)
    if isinstance(worker, FunctionType):
        return "function", worker
    return "object", _check_class(type(worker))


def _check_class(cls: type) -> type:
    if not callable(getattr(cls, "handle_message", None)):
        raise CodeRefused(f"{cls.__qualname__} cannot be shipped: it has no method handle_message")
    return cls


def _module_of(target: type | FunctionType, name: str) -> ModuleType:
    """Return the module at whose top a class or function is, or refuse one that is not."""
    if "<" in name:
        raise CodeRefused(
            f"{name} cannot be shipped: it is made inside a function, where nobody else can name it. "
            "Define it at the top of a module."
        )
    module = sys.modules.get(target.__module__)
    found: object = module
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    if module is None or found is not target:
        raise CodeRefused(
            f"{name} cannot be shipped: {target.__module__}.{name} is something else by now. "
            "Give it a name of its own at the top of its module."
        )
    return module


def _sliced(module: ModuleType, name: str) -> Slice:
    source = text_of(module)
    if source is None:
        raise CodeRefused(
            f"{name} cannot be shipped: the source of {module.__name__} is not at hand. "
            "Write the class into a file; what is typed at a prompt cannot be shipped."
        )
    try:
        return slice_of(source, name.partition(".")[0], vars(module))
    except UNREADABLE as error:
        raise CodeRefused(
            f"{name} cannot be shipped: the source of {module.__name__} cannot be read: {error}"
        ) from None


def _needs(source: str) -> dict[str, str]:
    """Return the program's own modules that a source imports: another node must have the same."""
    names = {each.module for each in imports_of(source)}
    names |= {f"{each.module}.{name}" for each in imports_of(source) for name in each.names}
    texts = {name: text_of(sys.modules[name]) for name in sorted(names) if is_program_s_own(name)}
    return {name: text_digest(text) for name, text in texts.items() if text is not None}


def _state_of(worker: object, kind: Kind, name: str) -> bytes:
    if kind == "object":
        return _encoded(_taken_state(worker, name), name, partial(_attribute, default=_has_default_state(worker)))
    if kind == "partial":
        assert isinstance(worker, partial)
        return _encoded((worker.args, worker.keywords), name, _argument)
    return plain.encode(None)


def _has_default_state(worker: object) -> bool:
    return type(worker).__getstate__ is object.__getstate__


def _taken_state(worker: object, name: str) -> object:
    cls = type(worker)
    if cls.__reduce__ is not object.__reduce__ or cls.__reduce_ex__ is not object.__reduce_ex__:
        raise CodeRefused(
            f"{name} cannot be shipped: it has a __reduce__ of its own, and nothing is pickled. "
            "Write __getstate__ and __setstate__."
        )
    try:
        object.__new__(cls)
    except TypeError:
        raise CodeRefused(
            f"{name} cannot be shipped: it is built on a type that is not written in Python, such as dict. "
            "Hold one as an attribute instead."
        ) from None
    try:
        return worker.__getstate__()
    except Exception as error:
        raise CodeRefused(
            f"{name} cannot be shipped: its __getstate__ raised {type(error).__name__}: {error}"
        ) from error


def _encoded(state: object, name: str, show: Callable[[tuple[object, ...]], str]) -> bytes:
    try:
        return plain.encode(state)
    except plain.NotPlain as error:
        raise CodeRefused(f"{name} cannot be shipped: {show(error.path)} {error}. {_remedy(error.value)}") from None


def _attribute(path: tuple[object, ...], *, default: bool) -> str:
    """Return where in an object's state something is: ``self.jobs[3]['file']``."""
    if not path:
        return "its state"
    if not default:
        return "self.__getstate__()" + _indexes(path)
    if path[0] in (0, 1) and type(path[0]) is int:  # beside the attributes, those in __slots__
        path = path[1:]
    return f"self.{path[0]}{_indexes(path[1:])}" if path else "its state"


def _argument(path: tuple[object, ...]) -> str:
    """Return where in a partial's arguments something is."""
    return f"argument {_shown(path[1])}{_indexes(path[2:])}" if len(path) > 1 else "its arguments"


def _indexes(path: tuple[object, ...]) -> str:
    return "".join(f"[{_shown(key)}]" for key in path)


def _shown(key: object) -> str:
    try:
        return f"{key!r:.40}"
    except ValueError:  # an int of too many digits
        return "..."


def _remedy(value: object) -> str:
    match value:
        case FunctionType() | MethodType() | BuiltinFunctionType():
            return "Write it as a method, or as a function at the top of the module."
        case ModuleType():
            return "Import it at the top of the module."
        case dict() | list() | tuple() | set() | frozenset() | str() | bytes() | int() | float():
            plain_type = next(each for each in type(value).__mro__ if each.__module__ == "builtins")
            if plain_type is type(value):
                return "Fetch it in on_start."
            return f"Make it a plain {plain_type.__name__}."
    if hasattr(type(value), "fileno") or hasattr(type(value), "acquire"):
        return "Open it in on_start."
    return "Make it in on_start, or write a __getstate__ that returns plain data."
