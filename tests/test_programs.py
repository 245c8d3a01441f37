"""Programs that `Node.start` runs, as processes of their own: signals, exit codes, and the last resort."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from signal import SIGINT, SIGTERM
from textwrap import dedent

import pytest

from .programs import Ended, run_file

pytestmark = pytest.mark.slow

Run = Callable[..., Ended]

WORKERS = """
import os, signal, sys, threading, time
import trio
from autonomy import Node

class Sleeper:
    async def handle_message(self, context, message):
        print("began", flush=True)
        await trio.sleep(float(message))
        print("handled", flush=True)

    async def on_stop(self, context):
        print("stopped", flush=True)

class Busy:
    async def handle_message(self, context, message):
        print("began", flush=True)
        while True:
            pass

class Stubborn:
    async def handle_message(self, context, message):
        print("began", flush=True)
        while True:
            try:
                await trio.sleep_forever()
            except BaseException:
                pass

class Waiting:
    async def handle_message(self, context, message):
        print("began", flush=True)
        await trio.Event().wait()

class Thread:
    def handle_message(self, context, message):
        print("began", flush=True)
        while True:
            time.sleep(1)

async def tell(node, worker, message="go"):
    await node.start_worker("worker", worker)
    await node.send_message("worker", message)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the text of a program, below the workers that all of them use."""

    def run(text: str, **options: object) -> Ended:
        path = tmp_path / "program.py"
        path.write_text(WORKERS + dedent(text))
        return run_file(path, **options)  # type: ignore[arg-type]  # passed on as they are

    return run


# ---- O1: signals


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_ends_a_program_in_good_order(run: Run, number: int) -> None:
    ended = run(
        """
        async def main(node):
            await tell(node, Sleeper(), "0.3")

        Node.start(main)
        print("after")
        """,
        signals=[("began", number)],
    )

    assert ended.code == 0
    assert ended.out == ["began", "handled", "stopped", "after"]
    assert "Traceback" not in ended.err


def test_a_signal_while_main_runs_cancels_main_and_then_ends_in_good_order(run: Run) -> None:
    ended = run(
        """
        async def main(node):
            await tell(node, Sleeper(), "0.3")
            try:
                await trio.sleep_forever()
            finally:
                print("main cancelled", flush=True)

        Node.start(main)
        """,
        signals=[("began", SIGTERM)],
    )

    assert ended.code == 0
    assert ended.out == ["began", "main cancelled", "handled", "stopped"]


def test_a_second_signal_cancels_everything_at_once(run: Run) -> None:
    ended = run(
        """
        async def main(node):
            await tell(node, Sleeper(), "60")

        Node.start(main)
        """,
        signals=[("began", SIGINT), ("", SIGTERM)],
    )

    assert ended.code == 0
    assert ended.out == ["began", "stopped"]
    assert ended.seconds < 3
    assert "Traceback" not in ended.err


def test_a_second_signal_of_the_same_kind_cancels_everything_at_once(run: Run) -> None:
    ended = run(
        """
        async def main(node):
            await tell(node, Sleeper(), "60")
            try:
                await trio.sleep_forever()
            finally:
                print("draining", flush=True)

        Node.start(main)
        """,
        signals=[("began", SIGINT), ("draining", SIGINT)],
    )

    assert ended.code == 0
    assert ended.out == ["began", "draining", "stopped"]
    assert ended.seconds < 3


def test_a_signal_that_somebody_wanted_ignored_stays_ignored(run: Run) -> None:
    ended = run(
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)

        async def main(node):
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep(0.1)
            print("still here", flush=True)

        Node.start(main)
        print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
        """,
        signals=[("still here", SIGTERM)],
    )

    assert ended.code == 0
    assert ended.out == ["still here", "True"]


# ---- O4: exit codes


def test_main_that_raises_gives_exit_code_1_and_a_bare_traceback_after_the_node_has_drained(run: Run) -> None:
    ended = run(
        """
        async def main(node):
            await tell(node, Sleeper(), "0.2")
            raise ValueError("main is broken")

        Node.start(main)
        """
    )

    assert ended.code == 1
    assert ended.out == ["began", "handled", "stopped"]
    assert ended.err.splitlines()[-1] == "ValueError: main is broken"
    assert "ExceptionGroup" not in ended.err
    assert "During handling" not in ended.err


def test_main_may_exit_with_a_code(run: Run) -> None:
    ended = run(
        """
        async def main(node):
            await tell(node, Sleeper(), "0.2")
            sys.exit(3)

        Node.start(main)
        """
    )

    assert ended.code == 3
    assert ended.out == ["began", "handled", "stopped"]
    assert "Traceback" not in ended.err


def test_a_worker_that_escalates_gives_exit_code_1_and_a_bare_traceback(run: Run) -> None:
    ended = run(
        """
        from autonomy import Escalate

        class Failing:
            async def handle_message(self, context, message):
                raise ValueError("too bad")

        async def main(node):
            await node.start_worker("failing", Failing(), supervision=Escalate())
            await node.send_message("failing", "now")

        Node.start(main)
        """
    )

    assert ended.code == 1
    assert ended.err.splitlines()[-1] == "ValueError: too bad"
    assert "ExceptionGroup" not in ended.err


def test_main_that_stops_its_node_ends_the_program_in_good_order(run: Run) -> None:
    ended = run(
        """
        async def main(node):
            await tell(node, Sleeper(), "0.2")
            await node.stop()

        Node.start(main, drain_timeout=3)
        print("after")
        """
    )

    assert ended.code == 0
    assert ended.out == ["began", "handled", "stopped", "after"]
    assert ended.seconds < 4


# ---- O5: whatever holds the node


@pytest.mark.parametrize("worker", ["Busy", "Stubborn"])
def test_a_handler_that_holds_the_process_cannot_keep_it_from_ending(run: Run, worker: str) -> None:
    ended = run(
        f"""
        async def main(node):
            await tell(node, {worker}())

        Node.start(main, drain_timeout=0.2)
        """,
        signals=[("began", SIGINT), ("", SIGTERM)],
    )

    assert ended.code == 70
    assert 2.5 < ended.seconds < 8
    assert "did not end within 3 s" in ended.err
    assert "all stacks" in ended.err
    assert "in handle_message" in ended.err or worker == "Stubborn"  # between two turns it is not on the stack
    assert "most recent call first" in ended.err


@pytest.mark.parametrize("worker", ["Waiting", "Thread"])
def test_a_handler_that_never_ends_is_left_behind_at_the_second_signal(run: Run, worker: str) -> None:
    ended = run(
        f"""
        async def main(node):
            await tell(node, {worker}())

        Node.start(main, drain_timeout=0.2)
        print("after")
        """,
        signals=[("began", SIGINT), ("", SIGTERM)],
    )

    assert ended.code == 0
    assert ended.out == ["began", "after"]
    assert ended.seconds < 3


def test_main_that_holds_the_process_cannot_keep_it_from_ending(run: Run) -> None:
    ended = run(
        """
        async def main(node):
            print("began", flush=True)
            while True:
                pass

        Node.start(main, drain_timeout=0.2)
        """,
        signals=[("began", SIGINT), ("", SIGTERM)],
    )

    assert ended.code == 70
    assert "in main" in ended.err


@pytest.mark.soak
@pytest.mark.parametrize("worker", ["Busy", "Stubborn"])
def test_one_signal_ends_a_process_that_is_held_once_its_budget_is_used_up(run: Run, worker: str) -> None:
    ended = run(
        f"""
        async def main(node):
            await tell(node, {worker}())

        Node.start(main, drain_timeout=0.2)
        """,
        signals=[("began", SIGTERM)],
    )

    assert ended.code == 70
    assert 15 < ended.seconds < 20
    assert "all stacks" in ended.err


@pytest.mark.soak
@pytest.mark.parametrize("worker", ["Waiting", "Thread"])
def test_one_signal_ends_a_process_whose_handler_never_ends_within_its_budget(run: Run, worker: str) -> None:
    ended = run(
        f"""
        async def main(node):
            await tell(node, {worker}())

        Node.start(main, drain_timeout=0.2)
        """,
        signals=[("began", SIGTERM)],
    )

    assert ended.code == 0
    assert ended.seconds < 16


# ---- what a program writes


def test_a_program_logs_to_stderr_in_lines_of_level_logger_and_event(run: Run) -> None:
    ended = run(
        """
        from autonomy import info

        async def main(node):
            info("Starting runner node...")
            print("done")

        Node.start(main, wait_until_interrupted=False)
        """
    )

    assert ended.out == ["done"]
    (line,) = ended.err.splitlines()
    assert line.split(" ", 1)[1] == "INFO node Starting runner node..."
