"""`Node.start` in this process: what it takes, what the environment says, and that it puts back what it changed."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from autonomy import Context, Node, NodeDown, info, open_node
from autonomy.identity import ZoneAuthority

from .workers import Echo, Recorder

VARIABLES = (
    "AUTONOMY_WAIT_UNTIL_INTERRUPTED", "AUTONOMY_LOG_LEVEL", "AUTONOMY_LOGGING", "CLUSTER", "ZONE", "NODE",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_is_left_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    library = logging.getLogger("autonomy")
    before = library.level, library.propagate, library.handlers[:]
    yield
    library.level, library.propagate, library.handlers[:] = before


class Stopping:
    """Stops its node at the first message."""

    def __init__(self) -> None:
        self.stopped = False

    async def handle_message(self, context: Context, message: str) -> None:
        self.stopped = True
        await context.node.stop()  # type: ignore[attr-defined]  # NodeRef is what all nodes have; this one is a Node


def start(main: object = None, name: str | None = None, **options: Any) -> None:
    """Run a program that does not wait, unless it says otherwise."""
    options = {"wait_until_interrupted": False, "stall_warning": None} | options
    Node.start(main, name, **options)  # type: ignore[arg-type]  # tests pass what cannot be, too


def waits(**options: Any) -> bool:
    """Return whether a program went on after its main, until its node was stopped by a worker."""
    stopping = Stopping()

    async def main(node: Node) -> None:
        await node.start_worker("stopping", stopping)
        node.send_after(0.02, "stopping", "stop")

    start(main, **options)
    return stopping.stopped


def name_of(name: str | None = None, **options: Any) -> tuple[str, str]:
    """Return the full and the short name of a program's node."""
    names: list[str] = []

    async def main(node: Node) -> None:
        names.extend((node.name, node.short_name))

    start(main, name, **options)
    full, short = names
    return full, short


# ---- main


def test_main_is_given_the_node_and_may_send_and_receive() -> None:
    answers: list[str] = []

    async def main(node: Node) -> None:
        await node.start_worker("echo", Echo())
        answers.append(await node.send_and_receive("echo", "hello"))

    start(main)

    assert answers == ["hello"]


def test_a_program_without_main_is_a_node_that_waits() -> None:
    start(None, wait_until_interrupted=False)


def test_a_program_drains_when_main_has_returned() -> None:
    recorder = Recorder()

    async def main(node: Node) -> None:
        await node.start_worker("recorder", recorder)
        for i in range(100):
            node.send_nowait("recorder", str(i))

    start(main)

    assert len(recorder.received) == 100


def test_a_program_can_be_run_again_in_the_same_process() -> None:
    incarnations: list[str] = []

    async def main(node: Node) -> None:
        incarnations.append(node.incarnation)

    start(main)
    start(main)

    assert len(set(incarnations)) == 2


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(3)])
def test_what_main_raises_comes_out_bare_after_the_node_has_drained(error: BaseException) -> None:
    recorder = Recorder()

    async def main(node: Node) -> None:
        await node.start_worker("recorder", recorder)
        node.send_nowait("recorder", "before it broke")
        raise error

    with pytest.raises(type(error)) as caught:
        start(main)

    assert caught.value is error
    assert recorder.received == ["before it broke"]


@pytest.mark.parametrize("main", ["main", 7, [print]])
def test_a_main_that_cannot_be_called_is_refused(main: object) -> None:
    with pytest.raises(TypeError, match="main must be an async function of the node, or None"):
        start(main)


def test_a_main_that_is_no_async_function_is_refused() -> None:
    with pytest.raises(TypeError, match="main must be an async function"):
        start(lambda node: None)


@pytest.mark.parametrize("options", [{"drain_timeout": -1}, {"threads": 0}, {"default_timeout": 0}])
def test_options_that_cannot_be_are_refused_before_main_runs(options: dict[str, Any]) -> None:
    ran: list[str] = []

    async def main(node: Node) -> None:
        ran.append(node.name)

    with pytest.raises(ValueError, match=next(iter(options))):
        start(main, **options)

    assert ran == []


async def test_a_program_inside_of_trio_is_refused_and_told_of_open_node() -> None:
    with pytest.raises(RuntimeError, match=r"inside Trio, write: async with open_node\(\) as node"):
        start(None)


@pytest.mark.parametrize("option", ["ticket", "cache_secure_channels", "use_local_db", "allow"])
def test_options_of_older_programs_are_accepted_and_warned_of_once(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start(None, **{option: "something"})

    (line,) = capsys.readouterr().err.splitlines()
    assert f"WARNING node option {option} has no effect instead=" in line


# ---- O1: whether it waits


@pytest.mark.parametrize("value", ["1", "true", "yes", "on", "TRUE", "Yes", " on "])
def test_the_environment_can_make_a_program_wait(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONOMY_WAIT_UNTIL_INTERRUPTED", value)

    assert waits(wait_until_interrupted=False)


@pytest.mark.parametrize("value", ["0", "false", "no", "off", "2", "anything else"])
def test_the_environment_can_keep_a_program_from_waiting(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONOMY_WAIT_UNTIL_INTERRUPTED", value)

    assert not waits(wait_until_interrupted=True)


@pytest.mark.parametrize("wanted", [True, False])
def test_an_environment_that_says_nothing_leaves_it_to_the_program(
    *, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONOMY_WAIT_UNTIL_INTERRUPTED", "")

    assert waits(wait_until_interrupted=wanted) is wanted


# ---- N2: names


def test_a_program_names_its_node_node_if_nobody_does() -> None:
    assert name_of() == ("node", "node")


def test_the_environment_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE", "runner")

    assert name_of() == ("runner", "runner")


def test_a_name_in_the_program_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE", "runner")

    assert name_of("main") == ("main", "main")


def test_cluster_and_zone_come_before_the_short_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "c1")
    monkeypatch.setenv("ZONE", "z1")

    assert name_of("main") == ("c1-z1-main", "main")


def test_a_node_with_a_certificate_has_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = ZoneAuthority.create(tmp_path / "zone", "z.test")

    assert name_of(credentials=authority.credentials("kitchen")) == ("kitchen", "kitchen")
    monkeypatch.setenv("CLUSTER", "c1")
    assert name_of(credentials=authority.credentials("c1-kitchen")) == ("c1-kitchen", "kitchen")
    assert name_of("kitchen", credentials=authority.credentials("c1-kitchen")) == ("c1-kitchen", "kitchen")
    with pytest.raises(ValueError, match="'c1-shop', but its certificate is that of 'c1-kitchen'"):
        name_of("shop", credentials=authority.credentials("c1-kitchen"))


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "")
    monkeypatch.setenv("ZONE", "z1")
    monkeypatch.setenv("NODE", "")

    assert name_of() == ("z1-node", "node")


@pytest.mark.parametrize("variable", ["CLUSTER", "ZONE", "NODE"])
def test_a_name_in_the_environment_that_cannot_be_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "not a name\n")

    with pytest.raises(ValueError, match="node name"):
        start(None)


# ---- logging


def test_a_program_logs_from_info_on(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(node: Node) -> None:
        info("Starting runner node...")

    start(main)

    captured = capsys.readouterr()
    assert captured.err.endswith(" INFO node Starting runner node...\n")
    assert captured.out == ""


def test_the_environment_sets_log_levels(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AUTONOMY_LOG_LEVEL", "WARNING")

    async def main(node: Node) -> None:
        info("not to be seen")

    start(main)

    assert capsys.readouterr().err == ""


def test_a_log_level_that_cannot_be_is_refused_and_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONOMY_LOG_LEVEL", "LOUD")
    before = logging_now()

    with pytest.raises(ValueError, match=r"AUTONOMY_LOG_LEVEL: log level must be one of .*'LOUD'"):
        start(None)

    assert logging_now() == before


def test_the_environment_can_keep_a_program_from_touching_logging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTONOMY_LOGGING", "0")
    before = logging_now()
    during: list[object] = []

    async def main(node: Node) -> None:
        during.append(logging_now())
        info("to nobody in particular")

    start(main)

    assert during == [before]
    assert capsys.readouterr().err == ""


# ---- what it puts back


def logging_now() -> tuple[object, ...]:
    """Return all that `Node.start` changes about logging."""
    library = logging.getLogger("autonomy")
    return library.level, library.propagate, list(library.handlers), list(logging.getLogger().handlers)


@pytest.mark.parametrize("error", [None, ValueError("broken")])
def test_signal_handlers_and_logging_are_as_before_when_a_program_has_ended(error: Exception | None) -> None:
    handlers: list[object] = []

    async def main(node: Node) -> None:
        handlers.append(signal.getsignal(signal.SIGTERM))
        if error is not None:
            raise error

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), *logging_now()
    if error is None:
        start(main)
    else:
        with pytest.raises(ValueError, match="broken"):
            start(main)
    after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), *logging_now()

    assert after == before
    assert handlers != [before[1]]


def test_a_signal_ends_main_and_its_wait() -> None:
    async def main(node: Node) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    start(main, wait_until_interrupted=True)


async def test_open_node_handles_no_signals() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with open_node(stall_warning=None):
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_program_runs_in_a_thread_too_where_it_cannot_handle_signals() -> None:
    names: list[str] = []
    handlers: list[object] = []

    async def main(node: Node) -> None:
        names.append(node.name)
        handlers.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=start, args=(main, "elsewhere"))
    thread.start()
    thread.join()

    assert names == ["elsewhere"]
    assert handlers == [before]


def test_no_thread_of_the_last_resort_stays_behind() -> None:
    async def main(node: Node) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep_forever()

    start(main)

    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(5)
            assert not thread.is_alive()


# ---- the end


def test_a_worker_that_stops_the_node_ends_the_program() -> None:
    assert waits(wait_until_interrupted=True)


def test_a_program_that_has_ended_refuses_requests() -> None:
    nodes: list[Node] = []

    async def main(node: Node) -> None:
        nodes.append(node)

    start(main)

    async def ask() -> None:
        with pytest.raises(NodeDown):
            await nodes[0].send_and_receive("echo", "hello")

    trio.run(ask)
