"""The asyncio tasks of one owner: of a worker, or of a program's ``main``.

Whatever asyncio task an owner's code makes, directly or through other tasks, ends with that owner. It is also kept
alive for as long: asyncio itself holds tasks weakly, and forgets those that nobody else holds.

Libraries that call `asyncio.Task` themselves, for its ``eager_start``, go past the loop, which is not told: aiohttp's
server does. Such tasks are looked for when an owner ends that has made others, and when the loop ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Iterable
from typing import Any

import trio
from trio.lowlevel import in_trio_task

from .. import logs
from .private import error_of, outside_of_trio_tasks

_log = logs.get_logger("asyncio")
_OF_TRIO = ("must be called from async context", "Task got bad yield")
"""How the errors begin that asyncio tasks get for awaiting Trio's own functions."""
_EXPLANATION = (
    "An asyncio task cannot await Trio's own functions, only asyncio's and autonomy's. Await them in the worker's "
    "handler or in main itself, or open a Trio nursery there."
)


class AsyncioTasks:
    """The asyncio tasks of one owner.

    Args:
        name: The owner's, for log lines.
        carry: Called in the context of each task that the owner's Trio code makes, to write into it what the task
            cannot know otherwise.
    """

    __slots__ = ("_carry", "_loop", "_name", "_tasks")

    def __init__(self, name: str, carry: Callable[[], None] | None = None) -> None:
        self._name = name
        self._carry = carry
        self._tasks: dict[asyncio.Future[object], None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def are_left(self) -> bool:
        """Whether any of them has not ended."""
        return bool(self._at_work())

    def adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count what is left in a loop, now that all other owners have ended; but for what was told to end before."""
        for task in _in_order(asyncio.all_tasks(loop)):
            if not task.cancelling():
                self.add(task)

    def prepare(self, context: contextvars.Context) -> None:
        """Write into the context of a task that is about to be made."""
        if self._carry is not None:
            context.run(self._carry)

    def add(self, task: asyncio.Future[object]) -> None:
        """Count a task as the owner's, until it ends."""
        self._loop = task.get_loop()
        if task not in self._tasks:
            self._tasks[task] = None
            task.add_done_callback(self._forget)
            task.add_done_callback(_explain)

    def _forget(self, task: asyncio.Future[object]) -> None:
        self._tasks.pop(task, None)

    def _at_work(self) -> list[asyncio.Future[object]]:
        """Return those that have not ended; some that have may still be counted, until their loop's next turn."""
        if self._loop is None:
            return []
        for made in _made_past_the_loop(self._loop, self):
            self.add(made)
        return [task for task in self._tasks if not task.done()]

    async def close(self, patience: float) -> None:
        """Cancel what is left and wait until it has ended; `patience` seconds for all, then say what has not.

        Tasks that the ending ones make are cancelled too. Runs to its end even if it is cancelled.
        """
        with trio.CancelScope(shield=True), trio.move_on_after(patience) as scope:
            while waiting := self._at_work():
                for task in waiting:
                    task.cancel()
                for task in waiting:
                    await _ended(task)
        if scope.cancelled_caught:
            left = sorted(repr(task) for task in self._at_work())
            _log.error("asyncio tasks went on although they were cancelled", owner=self._name, tasks=", ".join(left))
            self._tasks, self._loop = {}, None


async def _ended(task: asyncio.Future[object]) -> None:
    """Wait in Trio until an asyncio task has ended."""
    if not task.done():
        ended = trio.Event()
        task.add_done_callback(lambda _: ended.set())
        await ended.wait()


owner: contextvars.ContextVar[AsyncioTasks | None] = contextvars.ContextVar("autonomy_asyncio_owner", default=None)
"""Whose the asyncio tasks are that this code makes."""


def create_owned(
    create: Callable[..., asyncio.Future[Any]], coro: Any, otherwise: AsyncioTasks | None = None, **options: Any
) -> asyncio.Future[Any]:
    """Make an asyncio task with ``create(coro, **options)``, and give it to the owner of the code that asks for it.

    Code that has no owner is of the program that hosts Trio, whose tasks nobody counts, unless `otherwise` does.
    """
    belongings = owner.get() or otherwise
    if not in_trio_task():
        task = create(coro, **options)
    else:
        if belongings is not None:
            options["context"] = options.get("context") or contextvars.copy_context()
            belongings.prepare(options["context"])
        with outside_of_trio_tasks():  # a factory of the application's may run the task's first step at once
            task = create(coro, **options)
    if belongings is not None and not task.done():
        belongings.add(task)
    return task


def _made_past_the_loop(loop: asyncio.AbstractEventLoop, of: AsyncioTasks) -> list[asyncio.Task[object]]:
    """Return the tasks of an owner, those too that its code made without asking the loop."""
    if sys.version_info < (3, 12):  # tasks do not say in what context they run, and none is begun at once
        return []
    return [task for task in _in_order(asyncio.all_tasks(loop)) if task.get_context().get(owner) is of]


def _in_order(tasks: Iterable[asyncio.Task[object]]) -> list[asyncio.Task[object]]:
    """Return tasks as they were made, as far as nobody has named them: a set's order is another one in each run."""
    return sorted(tasks, key=lambda task: (len(task.get_name()), task.get_name()))


def _explain(task: asyncio.Future[object]) -> None:
    error = error_of(task)
    if isinstance(error, RuntimeError) and str(error).startswith(_OF_TRIO):
        error.add_note(_EXPLANATION)
