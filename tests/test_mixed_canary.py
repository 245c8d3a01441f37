"""What `_mixed` relies on of Trio and asyncio beyond their public names. A version that moves any of it is told here.

Nothing here imports `autonomy`, so that these tests can speak even when that cannot be imported any more:
``pytest --noconftest tests/test_mixed_canary.py``.
"""

from __future__ import annotations

import ast
import asyncio
import contextvars
import importlib
import platform
import re
import tomllib
import types
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import outcome
import pytest
import sniffio
import trio
from trio.lowlevel import Abort, RaiseCancelT, current_task, in_trio_run, in_trio_task, reschedule
from trio.testing import wait_all_tasks_blocked

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "autonomy"
PRIVATE = SOURCE / "_mixed" / "private.py"
PACKAGES = ("trio", "asyncio", "sniffio", "outcome")

USES = {
    "GLOBAL_RUN_CONTEXT": "outside_of_trio_tasks() hides the Trio task while the pumped loop steps asyncio tasks",
    "WaitTaskRescheduled": "driver.drive() tells by its type that a coroutine wants to sleep in Trio",
    "abort_func": "abort() ends a Trio wait that asyncio has cancelled before it began (driver._cancel_wait)",
    "_abort_func": "abort_wait() ends the Trio wait that a cancelled task sleeps in (driver.Shadow.cancel)",
    "_cancel_status": "cancelled_scopes() tells cancellations apart, so that each is told once (driver._Wait)",
    "_scope": "cancelled_scopes() walks from scope to scope",
    "_cancel_called": "cancelled_scopes() asks each scope, without giving it a chance to find that its time has come",
    "parent": "cancelled_scopes() walks from scope to scope",
    "parent_cancellation_is_visible_to_us": "cancelled_scopes() stops at a shield",
    "coro": "replace_coroutine() lets nursery children of driven code be driven (mixture._DrivesChildren)",
    "__attrs_attrs__": "also_for_asyncio() makes a trio.Cancelled that is an asyncio.CancelledError, field by field",
    "_enter_task": "driver.drive() makes its Shadow asyncio.current_task() while it steps a coroutine",
    "_leave_task": "driver.drive() takes that back when the coroutine waits",
    "_set_running_loop": "mixture and pumped_loop put the loop within reach of Trio code",
    "_get_running_loop": "mixture finds the loop that Trio is a guest of",
    "is_guest": "trio_is_guest() tells a loop that hosts Trio from one whose callback has started Trio",
    "_ready": "has_ready_callbacks() tells the pump whether to turn the loop again",
    "_scheduled": "next_timer() tells the pump how long to sleep",
    "_when": "next_timer() tells the pump how long to sleep",
    "_asyncio_future_blocking": "expects_future() and accept_future() know by it what asyncio code waits for",
    "_exception": "error_of() looks at a task's error without taking note of it (belongings._explain)",
}

PUBLIC = {"abort_func", "coro", "is_guest", "__attrs_attrs__", "parent", "parent_cancellation_is_visible_to_us"}
"""Those of them that look public, on objects that are not."""


@contextmanager
def relied_on(*names: str) -> Generator[None]:
    """Say of whatever goes wrong within what has moved, and where it is used."""
    try:
        yield
    except Exception as error:
        uses = "".join(f"\n  {name}: {USES[name]}" for name in names)
        raise AssertionError(
            f"Trio {trio.__version__} or Python {platform.python_version()} has moved what {PRIVATE.name} relies on:"
            f"{uses}\nMend it there, and raise the bounds in pyproject.toml only with these tests."
        ) from error


def private(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def private_of(thing: object, name: str) -> object:
    return getattr(thing, name)


def give_up(_: RaiseCancelT) -> Abort:
    return Abort.SUCCEEDED


# --- Trio


async def test_the_task_that_trio_runs_can_be_hidden_and_shown_again() -> None:
    with relied_on("GLOBAL_RUN_CONTEXT"):
        context = private("trio._core._run", "GLOBAL_RUN_CONTEXT")
        task = context.task
        assert task is current_task()

        del context.task
        try:
            hidden = not in_trio_task() and in_trio_run()
        finally:
            context.task = task

        assert hidden
        assert current_task() is task
        await trio.lowlevel.checkpoint()


async def test_a_trio_run_says_whether_it_is_a_guest() -> None:
    with relied_on("GLOBAL_RUN_CONTEXT", "is_guest"):
        assert private("trio._core._run", "GLOBAL_RUN_CONTEXT").runner.is_guest is False

        async def as_guest() -> bool:
            return bool(private("trio._core._run", "GLOBAL_RUN_CONTEXT").runner.is_guest)

        assert await trio.to_thread.run_sync(asyncio.run, hosted(as_guest)) is True


async def hosted(program: Callable[[], Awaitable[bool]]) -> bool:
    """Run a Trio program as a guest of asyncio."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[outcome.Outcome[bool]] = loop.create_future()
    trio.lowlevel.start_guest_run(
        program,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=ended.set_result,
        host_uses_signal_set_wakeup_fd=True,
    )
    return (await ended).unwrap()


async def test_a_coroutine_that_sleeps_in_trio_yields_its_abort_function() -> None:
    with relied_on("WaitTaskRescheduled", "abort_func"):
        kind = private("trio._core._traps", "WaitTaskRescheduled")

        steps = trio.lowlevel.wait_task_rescheduled(give_up).__await__()  # noqa: ASYNC105  # stepped by hand
        trap = next(iter(steps))

        assert type(trap) is kind
        assert trap.abort_func is give_up
        with pytest.raises(StopIteration) as end:
            steps.send(outcome.Value("woken"))
        assert end.value.value == "woken"


async def test_a_sleep_that_is_ended_before_it_begins_takes_an_outcome() -> None:
    with relied_on("abort_func"):
        steps = trio.sleep_forever().__await__()  # noqa: ASYNC105  # stepped by hand
        trap: Any = next(iter(steps))

        def refuse() -> NoReturn:
            raise AssertionError("an abort function that succeeds leaves this to its caller")

        assert trap.abort_func(refuse) is Abort.SUCCEEDED
        with pytest.raises(LookupError):
            steps.send(outcome.Error(LookupError()))


async def test_a_sleeping_task_shows_its_abort_function_until_it_is_woken() -> None:
    woken: list[str] = []
    with relied_on("_abort_func"):

        async def sleeper() -> None:
            woken.append(await trio.lowlevel.wait_task_rescheduled(give_up))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await wait_all_tasks_blocked()
            (task,) = nursery.child_tasks
            asleep: Any = task

            assert asleep._abort_func is give_up
            asleep._abort_func = None
            nursery.cancel_scope.cancel()  # not told to the task any more: it was given its one attempt
            reschedule(task, outcome.Value("by us"))
            assert asleep._abort_func is None

    assert woken == ["by us"]


async def test_a_task_that_was_woken_and_has_not_run_shows_no_abort_function() -> None:
    with relied_on("_abort_func"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_task_rescheduled, give_up)
            await wait_all_tasks_blocked()
            (task,) = nursery.child_tasks

            reschedule(task)

            assert private_of(task, "_abort_func") is None


async def test_a_task_shows_which_cancel_scope_it_is_in() -> None:
    with relied_on("_cancel_status"):
        task = current_task()
        outside = private_of(task, "_cancel_status")

        with trio.CancelScope():
            first = private_of(task, "_cancel_status")
            with trio.CancelScope():
                await trio.lowlevel.checkpoint()
                second = private_of(task, "_cancel_status")
            again = private_of(task, "_cancel_status")
        with trio.CancelScope():
            await trio.lowlevel.checkpoint()
            third = private_of(task, "_cancel_status")

        assert first is again
        assert len({id(status) for status in (outside, first, second, third)}) == 4
        assert private_of(task, "_cancel_status") is outside


async def test_a_task_shows_the_scopes_around_it_and_which_are_cancelled_up_to_a_shield() -> None:
    with relied_on("_scope", "_cancel_called", "parent", "parent_cancellation_is_visible_to_us"):
        with trio.CancelScope() as outer, trio.CancelScope() as middle, trio.CancelScope() as inner:
            status: Any = private_of(current_task(), "_cancel_status")
            middle.cancel()

            assert [status._scope, status.parent._scope, status.parent.parent._scope] == [inner, middle, outer]
            called = [private_of(scope, "_cancel_called") for scope in (inner, middle, outer)]
            assert called == [False, True, False]
            assert status.parent_cancellation_is_visible_to_us
            inner.shield = True
            assert not status.parent_cancellation_is_visible_to_us
            await trio.lowlevel.checkpoint()
        while status.parent is not None:
            status = status.parent
        assert not status.parent_cancellation_is_visible_to_us
        await trio.lowlevel.checkpoint()


async def test_asking_whether_a_scope_was_cancelled_does_not_cancel_it() -> None:
    with relied_on("_cancel_called"):
        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() - 1
            called = private_of(scope, "_cancel_called")
            await trio.lowlevel.cancel_shielded_checkpoint()

        assert called is False
        assert scope.cancel_called


async def test_a_task_that_has_just_been_spawned_runs_the_coroutine_it_is_given_instead() -> None:
    steps: list[object] = []
    with relied_on("coro"):

        @types.coroutine
        def watched(coro: Any) -> Generator[Any, Any, Any]:
            value = None
            while True:
                try:
                    yielded = coro.send(value)
                except StopIteration as end:
                    return end.value
                steps.append(yielded)
                value = yield yielded

        class Replaces(trio.abc.Instrument):
            def task_spawned(self, task: Any) -> None:
                task.coro = watched(task.coro)

        trio.lowlevel.add_instrument(instrument := Replaces())
        try:
            async with trio.open_nursery() as nursery:
                assert await nursery.start(report) == "begun"
                nursery.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(instrument)

        assert len(steps) == 2


async def report(task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    await trio.lowlevel.checkpoint()
    task_status.started("begun")
    await trio.sleep_forever()


async def test_a_cancellation_of_trios_can_be_one_of_asyncios_too() -> None:
    with relied_on("__attrs_attrs__"):
        made: list[BaseException] = []

        with trio.CancelScope() as scope:
            scope.cancel(reason="by this test")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                except trio.Cancelled as cancelled:
                    made += [cancelled, cancelled_in_both_worlds(cancelled)]
                    raise made[1] from None

        original, both = made
        assert scope.cancelled_caught
        assert isinstance(both, trio.Cancelled)
        assert isinstance(both, asyncio.CancelledError)
        assert str(both) == str(original)
        assert "by this test" in str(both)


def cancelled_in_both_worlds(cancelled: trio.Cancelled) -> BaseException:
    class Open:
        def __init_subclass__(cls) -> None:
            pass

    kind: Any = type.__new__(type(trio.Cancelled), "Cancelled", (Open, trio.Cancelled, asyncio.CancelledError), {})
    both: BaseException = kind.__new__(kind)
    for field in trio.Cancelled.__attrs_attrs__:
        object.__setattr__(both, field.name, getattr(cancelled, field.name))
    return both


def test_trio_tells_other_libraries_where_code_runs_by_a_thread_local_name() -> None:
    seen: list[object] = []

    async def look() -> None:
        seen.append(sniffio.thread_local.name)

    trio.run(look)

    assert seen == ["trio"], "outside_of_trio_tasks() sets sniffio.thread_local.name, as Trio did"


# --- asyncio


@contextmanager
def new_loop() -> Iterator[Any]:
    loop = asyncio.SelectorEventLoop()
    try:
        yield loop
    finally:
        loop.close()


class Stand:
    """No task, as `driver.Shadow`."""


def test_anything_can_be_entered_as_the_current_task_of_a_loop_that_does_not_run() -> None:
    with relied_on("_enter_task", "_leave_task"), new_loop() as loop:
        enter, leave = private("asyncio.tasks", "_enter_task"), private("asyncio.tasks", "_leave_task")
        task: Any = Stand()

        enter(loop, task)
        try:
            assert asyncio.current_task(loop) is task
        finally:
            leave(loop, task)

        assert asyncio.current_task(loop) is None


def test_a_loop_that_does_not_run_can_be_put_within_reach() -> None:
    with relied_on("_set_running_loop", "_get_running_loop"), new_loop() as loop:
        put, get = private("asyncio", "_set_running_loop"), private("asyncio", "_get_running_loop")
        assert get() is None

        put(loop)
        try:
            assert get() is loop
            assert asyncio.get_running_loop() is loop
        finally:
            put(None)

        assert get() is None


def test_a_loop_shows_what_it_would_call_at_once() -> None:
    with relied_on("_ready"), new_loop() as loop:
        called: list[str] = []
        assert not loop._ready

        loop.call_soon(called.append, "soon")
        assert loop._ready
        loop.stop()
        loop.run_forever()

        assert not loop._ready
        assert called == ["soon"]


def test_a_loop_shows_its_next_timer_first() -> None:
    with relied_on("_scheduled", "_when"), new_loop() as loop:
        now = loop.time()
        assert not loop._scheduled

        for seconds in (300, 100, 200):
            loop.call_at(now + seconds, print)

        assert loop._scheduled[0]._when == now + 100


@pytest.mark.parametrize("kind", [asyncio.Future, asyncio.futures._PyFuture])  # type: ignore[attr-defined]
def test_a_future_that_is_awaited_says_that_it_blocks(kind: Callable[..., Awaitable[int]]) -> None:
    with relied_on("_asyncio_future_blocking"), new_loop() as loop:
        future: Any = kind(loop=loop)
        assert future._asyncio_future_blocking is False

        steps = future.__await__()
        yielded = next(iter(steps))
        assert yielded is future
        assert future._asyncio_future_blocking is True
        future._asyncio_future_blocking = False
        future.set_result(1)

        with pytest.raises(StopIteration) as end:
            next(steps)
        assert end.value.value == 1


def test_the_error_of_a_task_can_be_looked_at_and_is_still_reported() -> None:
    with relied_on("_exception"), new_loop() as loop:
        reported: list[Any] = []
        loop.set_exception_handler(lambda _, report: reported.append(report))
        error = LookupError()

        async def fail() -> None:
            raise error

        task = loop.create_task(fail())
        assert task._exception is None
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert task._exception is error
        del task

        assert [report["exception"] for report in reported] == [error]
        error.__traceback__ = None


def test_a_context_may_be_entered_by_the_task_that_asyncio_makes_in_it() -> None:
    variable = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()
    context.run(variable.set, 1)

    async def look() -> int:
        return variable.get()

    with new_loop() as loop:
        assert loop.run_until_complete(loop.create_task(look(), context=context)) == 1


# --- one file, and bounds


def names_imported_from(tree: ast.Module, *packages: str) -> dict[str, str]:
    """The names that a file gives to modules of these packages and to what is in them, and where each comes from."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in packages:
                    names[alias.asname or alias.name.split(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] in packages:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def defined_by_us() -> set[str]:
    """Every name that some file of ours defines: as a variable, attribute, slot, function or class."""
    names: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
                case ast.Name(id=name, ctx=ast.Store()):
                    names.add(name)
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                    names.add(name)
                case ast.Assign(targets=[ast.Name(id="__slots__")]):
                    names |= set(re.findall(r"'(\w+)'", ast.unparse(node.value)))
    return names


def private_uses(path: Path, ours: set[str]) -> list[str]:
    """The private names that a file imports from these packages, or looks up although none of `ours` is meant."""
    tree = ast.parse(path.read_text())
    theirs = names_imported_from(tree, *PACKAGES)
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found = {
        origin: node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for origin in names_imported_from(ast.Module([node], []), *PACKAGES).values()
        if any(map(is_private, origin.split(".")))
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in theirs and is_private(attribute):
                found[f"{theirs[name]}.{attribute}"] = node.lineno
            case ast.Attribute(value=ast.Name(id=name)) if name in modules:
                pass  # sys._current_frames and os._exit are documented
            case ast.Attribute(attr=attribute) if is_private(attribute) and attribute not in ours:
                found[f"….{attribute}"] = node.lineno
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(str(name)), *_]):
                if is_private(name) and name not in ours:
                    found[f"….{name}"] = node.lineno
    return [f"{path.relative_to(ROOT)}:{line}: {name}" for name, line in found.items()]


def test_private_names_of_trio_and_asyncio_are_used_in_one_file_alone() -> None:
    ours = defined_by_us()
    uses = [use for path in sorted(SOURCE.rglob("*.py")) if path != PRIVATE for use in private_uses(path, ours)]

    assert uses == [], "give it a name in _mixed/private.py, a row in USES and a test here"


def test_the_scan_sees_private_names_however_they_are_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "sample.py"
    path.write_text(
        "import asyncio, trio as t\nfrom trio._core._run import GLOBAL_RUN_CONTEXT\nfrom asyncio.tasks import _enter\n"
        "asyncio._get_running_loop()\nt._core\nloop._scheduled\ngetattr(future, '_asyncio_future_blocking')\n"
    )

    lines = {use.split(":")[1] for use in private_uses(path, {"_ours"})}

    assert lines == {"2", "3", "4", "5", "6", "7"}


def test_every_private_name_of_that_file_has_a_test_here() -> None:
    used = {use.rsplit(".", 1)[-1] for use in private_uses(PRIVATE, {"_Open"})}

    assert used | PUBLIC == set(USES)
    tests = Path(__file__).read_text()
    assert [name for name in USES if not re.search(rf'relied_on\([^)]*"{name}"', tests)] == []


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def bounds(requirement: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first two numbers of a requirement's lower and upper bound; the upper one is excluded."""
    lower = re.search(r">=(\d+)\.(\d+)", requirement)
    upper = re.search(r"<(\d+)\.(\d+)$", requirement)
    assert lower, f"{requirement} has no lower bound"
    assert upper, f"{requirement} has no upper bound: _mixed/private.py may be wrong for versions nobody has tried"
    return (int(lower[1]), int(lower[2])), (int(upper[1]), int(upper[2]))


def test_only_versions_of_trio_are_admitted_that_these_tests_ran_with() -> None:
    (requirement,) = [each for each in project()["dependencies"] if re.match(r"trio\b(?!-)", each)]
    lower, upper = bounds(requirement)
    here = tuple(map(int, trio.__version__.split(".")[:2]))

    assert lower <= here < upper
    assert upper == (here[0], here[1] + 1), f"{requirement} admits more than the Trio {trio.__version__} tested here"


def test_only_pythons_are_admitted_that_these_tests_ran_with() -> None:
    lower, upper = bounds(project()["requires-python"])
    named = re.findall(r"Python :: (\d+)\.(\d+)", " ".join(project()["classifiers"]))
    tested = [(int(major), int(minor)) for major, minor in named]
    here = tuple(map(int, platform.python_version_tuple()[:2]))

    assert here in tested
    assert lower == min(tested)
    assert upper == (max(tested)[0], max(tested)[1] + 1)
