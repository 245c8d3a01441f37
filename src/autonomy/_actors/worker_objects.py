"""Objects that may run as workers, and those that do.

One object is at most one worker, so that no worker sees another's state (D6). That holds across the nodes of a
process, hence a table of the interpreter and not of a node; nothing else looks at it.
"""

from __future__ import annotations

from inspect import CO_VARARGS
from threading import Lock
from types import FunctionType

_at_work: dict[int, object] = {}
_in_threads: dict[int, tuple[object, int]] = {}
"""Objects that threads are busy with, and with how many calls: a thread may outlast the worker that began it."""
_counting = Lock()


def check_worker(worker: object, name: str) -> object:
    """Return `worker` if it can handle messages.

    Raises:
        TypeError: It has no method ``handle_message``, or is a class.
    """
    if isinstance(worker, type):
        raise TypeError(
            f"worker {name!r} is the class {worker.__name__}, not an object of it. "
            f"Pass {worker.__name__}(), or let supervision make the objects: supervision=Restart()."
        )
    if not callable(getattr(worker, "handle_message", None)):
        raise TypeError(
            f"worker {name!r} ({type(worker).__name__}) has no method handle_message. "
            "A worker is an object with: async def handle_message(self, context, message)"
        )
    if not _takes_context_and_message(worker.handle_message):  # type: ignore[attr-defined]  # it is there
        raise TypeError(
            f"handle_message of worker {name!r} ({type(worker).__name__}) does not take a context and a message. "
            "Write: async def handle_message(self, context, message)"
        )
    return worker


def _takes_context_and_message(handler: object) -> bool:
    """Whether a method written in Python takes two arguments besides self; other callables know best what they take."""
    function = getattr(handler, "__func__", None)
    if not isinstance(function, FunctionType) or function.__code__.co_flags & CO_VARARGS:
        return True
    most = function.__code__.co_argcount
    least = most - len(function.__defaults__ or ())
    required = function.__code__.co_kwonlyargcount - len(function.__kwdefaults__ or {})
    return least <= 3 <= most and not required


def has_on_stop(worker: object) -> bool:
    """Whether a worker has an ``on_stop``; one that cannot even be looked up counts, and fails when it is called."""
    try:
        return hasattr(worker, "on_stop")
    except Exception:  # noqa: BLE001  # the worker's own code, such as a property
        return True


def claim(worker: object, name: str) -> None:
    """Note that an object runs as a worker; raise ValueError if it does already, or a thread is still busy with it."""
    if id(worker) in _at_work:
        raise ValueError(
            f"this {type(worker).__name__} object runs as a worker already; "
            f"an object is at most one worker, so that nobody shares its state. Make another one for {name!r}."
        )
    if id(worker) in _in_threads:
        raise ValueError(
            f"a thread is still busy with this {type(worker).__name__} object, whose worker was stopped meanwhile; "
            f"an object is at most one worker, so that nobody shares its state. Make another one for {name!r}, or wait."
        )
    _at_work[id(worker)] = worker


def check_idle(worker: object, name: str) -> None:
    """Raise what `claim` would raise now."""
    claim(worker, name)
    release(worker)


def release(worker: object) -> None:
    """Note that an object runs no more."""
    _at_work.pop(id(worker), None)


def enter_thread(worker: object) -> None:
    """Note that a thread begins a call of an object."""
    with _counting:
        _, calls = _in_threads.get(id(worker), (worker, 0))
        _in_threads[id(worker)] = worker, calls + 1


def leave_thread(worker: object) -> None:
    """Note that the call has ended, or will never begin. In whatever thread."""
    with _counting:
        _, calls = _in_threads.pop(id(worker))
        if calls > 1:
            _in_threads[id(worker)] = worker, calls - 1
