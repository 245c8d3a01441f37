"""The benchmarks run, and their lines have the fields that readers count on. No time is asserted."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import hosted, local, raw, raw_links
from benchmarks.__main__ import main
from benchmarks.far_side import far_side
from benchmarks.measure import in_turns, median_ratio, p50, p99, rates_in_turns
from benchmarks.terms import GATHERED
from benchmarks.undriven import switch_driver_off
from benchmarks.workloads import LOOPS

from autonomy import Context, open_node

FIELDS = ["workload", "library", "raw", "ratio", "unit", "rounds"]
PATIENCE = 60.0
NEAR_SIDE = """
import os
import signal
from benchmarks import raw_links
from benchmarks.far_side import far_side

if __name__ == "__main__":
    with far_side(raw_links.serve) as far:
        raw_links.one_caller(far, 1)
        print("linked", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
needs_memory_figures = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="memory is read where Linux shows it"
)


def lines_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    main([*arguments, "--json", "--rounds", "2", "--scale", "0.001"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("workload", "unit", "more_fields"),
    [
        ("L1", "requests/s", ["ratio_fail_after"]),
        ("L2", "messages/s", []),
        ("L3", "requests/s", ["ratio_fail_after"]),
        ("A1", "requests/s", []),
    ],
)
def test_a_rate_is_one_line_of_json(
    capsys: pytest.CaptureFixture[str], workload: str, unit: str, more_fields: list[str]
) -> None:
    [line] = lines_of(capsys, workload)

    assert list(line) == [*FIELDS, *more_fields]
    assert (line["workload"], line["unit"], line["rounds"]) == (workload, unit, 2)
    for field in ("library", "raw", "ratio", *more_fields):
        value = line[field]
        assert isinstance(value, float)
        assert value > 0
        assert math.isfinite(value)


def test_the_counterpart_of_L3_has_a_timeout_so_both_ratios_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:  # noqa: N802
    [line] = lines_of(capsys, "L3")

    assert line["ratio"] == line["ratio_fail_after"]


@pytest.mark.slow
@needs_memory_figures
def test_workers_are_a_line_for_time_and_one_for_memory(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(capsys, "L4")

    assert [list(line) for line in lines] == [FIELDS, FIELDS]
    assert [(line["workload"], line["unit"]) for line in lines] == [("L4", "µs/worker"), ("L4_memory", "KiB/worker")]


@pytest.mark.slow
def test_an_asyncio_program_is_a_line_for_a_request_and_one_for_many_on_each_loop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = lines_of(capsys, "aio")

    assert [list(line) for line in lines] == [FIELDS] * 4
    assert [(line["workload"], line["unit"]) for line in lines] == [
        ("aio", "µs p50"),
        ("aio_gather", "requests/s"),
        ("aio_uvloop", "µs p50"),
        ("aio_gather_uvloop", "requests/s"),
    ]


@pytest.mark.slow
def test_every_point_of_the_curves_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    points = lines_of(capsys, "curves")

    assert {tuple(point) for point in points} == {("curve", "at", "library", "raw", "unit")}
    assert [point["at"] for point in points if point["curve"] == "workers"] == [1, 1, 1, 10, 100]
    assert [point["at"] for point in points if point["curve"] == "payload"] == [16, 256, 4_096, 65_536, 1_048_576]


def test_idle_workers_are_left_alone_for_as_long_as_one_says() -> None:
    found = local.idle(10, seconds=0.001)

    assert (found.workers, found.seconds) == (10, 0.001)


@pytest.mark.slow
def test_the_table_names_every_workload_and_its_goal(capsys: pytest.CaptureFixture[str]) -> None:
    main(["L1", "L2", "--rounds", "1", "--scale", "0.001"])

    table = capsys.readouterr().out
    assert "L1" in table
    assert "≥ 5" in table
    assert "send_nowait and async for" in table
    assert "idle" not in table


@pytest.mark.slow
def test_a_goal_for_the_figure_itself_has_its_unit_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["A1", "aio", "--rounds", "1", "--scale", "0.001"])

    goals = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if "≥" in line or "≤" in line}
    assert "≥ 0.95×" in goals["A1"]
    assert "≤ 250 µs p50" in goals["aio"]
    assert "≥ 10,000 requests/s" in goals["aio_gather"]
    assert "≤ 250 µs p50" in goals["aio_uvloop"]
    assert "≥ 10,000 requests/s" in goals["aio_gather_uvloop"]


def test_a_benchmark_that_does_not_exist_is_refused_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        SystemExit, match="no benchmark 'L9'; there are L1, L2, L3, L4, A1, R1, R2, R3, R4, R5, aio, curves, idle"
    ):
        main(["L1", "L9"])

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--scale", "2"], ["--scale", "0"], ["--profile", "L9"]])
def test_an_argument_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)

    assert arguments[0] in capsys.readouterr().err


def test_variants_take_turns_and_the_order_is_reversed_every_other_round() -> None:
    ran: list[str] = []

    results = in_turns({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, rounds=3)

    assert "".join(ran) == "abbaab"
    assert results == {"a": [None] * 3, "b": [None] * 3}


def test_a_ratio_compares_neighbours() -> None:
    """The second round ran on a machine ten times slower, and says the same."""
    library, counterpart = [200.0, 20.0, 200.0], [100.0, 10.0, 100.0]

    assert median_ratio(library, counterpart) == 2.0


def test_both_sides_of_the_worker_curve_do_the_same_work() -> None:
    assert local.among_many(3, 7, 2) > 0
    assert raw.among_many(3, 7, 2) > 0


class SaysWhetherItIsDriven:
    """Replies whether asyncio knows a task here, which is the driver's doing."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply("driven" if asyncio.current_task() is not None else "not driven")


async def test_the_counterpart_of_A1_runs_without_the_driver_and_the_node_beside_it_with_it() -> None:  # noqa: N802
    async with open_node("on") as driven, open_node("off") as plain:
        switch_driver_off(plain)
        for node in (driven, plain):
            await node.start_worker("w", SaysWhetherItIsDriven())

        assert await driven.send_and_receive("w", "?") == "driven"
        assert await plain.send_and_receive("w", "?") == "not driven"


async def test_short_batches_take_turns_after_one_of_each_to_warm_up() -> None:
    ran: list[str] = []

    async def run(name: str, count: int) -> None:
        ran.append(name * count)

    rates = await rates_in_turns({"a": lambda count: run("a", count), "b": lambda count: run("b", count)}, 2, 3)

    assert ran == ["aa", "bb", "aa", "bb", "bb", "aa", "aa", "bb"]
    assert [len(batches) for batches in rates.values()] == [3, 3]


async def test_a_median_is_of_single_runs_after_a_tenth_of_them_to_warm_up() -> None:
    ran: list[None] = []

    async def run() -> None:
        ran.append(None)

    assert await p50(run, 20) > 0
    assert len(ran) == 22


async def test_a_percentile_is_of_single_runs_of_all_callers() -> None:
    ran: list[None] = []

    async def run() -> None:
        ran.append(None)

    assert await p99(run, 200, callers=2) > 0
    assert len(ran) == 220


@pytest.mark.parametrize("loop", LOOPS)
def test_an_asyncio_program_runs_on_the_loop_that_its_line_names(loop: str) -> None:
    made: list[asyncio.AbstractEventLoop] = []

    def new_loop() -> asyncio.AbstractEventLoop:
        made.append(LOOPS[loop]())
        return made[0]

    assert hosted.gathered(GATHERED, new_loop) > 0
    assert [type(each).__module__.partition(".")[0] for each in made] == ["uvloop" if loop else "asyncio"]


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(("workload", "unit"), [("R1", "requests/s"), ("R2", "messages/s"), ("R3", "requests/s")])
def test_a_rate_between_two_processes_is_one_line_of_json(
    capsys: pytest.CaptureFixture[str], workload: str, unit: str
) -> None:
    [line] = lines_of(capsys, workload)

    assert list(line) == FIELDS
    assert (line["workload"], line["unit"]) == (workload, unit)


@pytest.mark.slow
@pytest.mark.network
def test_large_messages_are_a_line_for_their_rate_and_one_for_the_small_beside_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = lines_of(capsys, "R4")

    assert [list(line) for line in lines] == [FIELDS, FIELDS]
    assert [(line["workload"], line["unit"]) for line in lines] == [("R4", "MB/s"), ("R4_p99", "ms p99")]


@pytest.mark.slow
@pytest.mark.network
def test_a_stalled_worker_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    [line] = lines_of(capsys, "R5")

    assert list(line) == FIELDS
    assert (line["workload"], line["unit"]) == ("R5", "ms p99")


@pytest.mark.slow
@pytest.mark.network
def test_the_counterparts_between_two_processes_answer() -> None:
    with far_side(raw_links.serve) as far:
        rates = [
            raw_links.one_caller(far, 2),
            raw_links.fire_and_forget(far, 2),
            raw_links.many_callers(far, 2),
            raw_links.large_messages(far, 1),
        ]

    assert all(rate > 0 for rate in rates)


@pytest.mark.slow
@pytest.mark.network
def test_a_far_side_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """The far side writes where the near side does: only when both have ended, there is nothing more to read."""
    program = tmp_path / "near.py"
    program.write_text(NEAR_SIDE)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}

    ended = subprocess.run(
        [sys.executable, str(program)], env=environment, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
    )

    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "linked\n")
