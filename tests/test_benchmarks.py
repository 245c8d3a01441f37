"""The benchmarks run, and their lines have the fields that readers count on. No time is asserted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from benchmarks import local, raw
from benchmarks.__main__ import main
from benchmarks.measure import in_turns, median_ratio

FIELDS = ["workload", "library", "raw", "ratio", "unit", "rounds"]
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


def test_a_benchmark_that_does_not_exist_is_refused_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="no benchmark 'L9'; there are L1, L2, L3, L4, curves, idle"):
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
