"""The command line: ``python -m benchmarks [L1 …] [--json]``. Reads arguments, prints figures; measures nothing."""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
from collections.abc import Sequence
from dataclasses import asdict

from . import local
from .curves import Point, curves
from .measure import in_process_of_its_own
from .workloads import GOALS, PROFILED, WORKLOADS, Figures, Goal

ROUNDS = 9
IDLE_WORKERS = 100_000
ALSO = ("curves", "idle")
LINES_OF_PROFILE = 25
ROW = "{:<17} {:>12} {:>12} {:<11} {:>7} {:>19}  {}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the arguments say, and print it."""
    options = _parser().parse_args(arguments)
    if options.profile is not None:
        _profile(options.profile)
        return
    names = options.names or list(WORKLOADS)
    unknown = [name for name in names if name not in (*WORKLOADS, *ALSO)]
    if unknown:
        sys.exit(f"no benchmark {unknown[0]!r}; there are {', '.join((*WORKLOADS, *ALSO))}")
    _measure([name for name in names if name in WORKLOADS], options)
    if "curves" in names:
        _curves(options)
    if "idle" in names:
        _idle(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the library against what is written by hand."
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join((*WORKLOADS, *ALSO))}; without any: {', '.join(WORKLOADS)}",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    parser.add_argument("--rounds", type=_count, default=ROUNDS, help=f"measurements of each thing ({ROUNDS})")
    parser.add_argument("--scale", type=_fraction, default=1.0, help="fraction of the usual work, for a quick look (1)")
    parser.add_argument("--profile", choices=PROFILED, help="run the library's side of one workload under cProfile")
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def _fraction(text: str) -> float:
    if not 0 < (number := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, got {text}")
    return number


def _measure(names: Sequence[str], options: argparse.Namespace) -> None:
    if names and not options.json:
        print(ROW.format("workload", "library", "by hand", "", "ratio", "goal", "by hand:"))
    for name in names:
        for figures in WORKLOADS[name](options.rounds, options.scale):
            print(figures.as_json() if options.json else _row(figures), flush=True)
    if names and not options.json:
        print("\nA ratio of 1 is as good as by hand, and more is better. It is the median of the ratios of each round.")
        print("Compare the ratios of different runs, never their absolute figures. A goal with a unit is one for the")
        print("library's own figure, and leaves room for a slow hour.")
        for workload, goal in GOALS.items():
            if workload.partition("_")[0] in names:
                print(f"  {workload}: {goal.work}")


def _row(figures: Figures) -> str:
    goal = GOALS[figures.workload]
    lines = [
        ROW.format(
            figures.workload,
            f"{figures.library:,.1f}",
            f"{figures.raw:,.1f}",
            figures.unit,
            f"{figures.ratio:.2f}×",
            _aim(goal, figures.unit),
            goal.against,
        )
    ]
    if figures.ratio_fail_after is not None and goal.ratio_fail_after != goal.ratio:
        ratio, least = f"{figures.ratio_fail_after:.2f}×", f"≥ {goal.ratio_fail_after:g}×"
        lines.append(ROW.format("", "", "", "", ratio, least, "channels and fail_after"))
    return "\n".join(lines)


def _aim(goal: Goal, unit: str) -> str:
    """Say what is aimed at: a ratio, or a figure of the library's own, which has its unit."""
    if goal.ratio is not None:
        return f"≥ {goal.ratio:g}×"
    if goal.at_least is not None:
        return f"≥ {goal.at_least:,g} {unit}"
    return f"≤ {goal.at_most:,g} {unit}"


def _curves(options: argparse.Namespace) -> None:
    curve = ""
    for point in curves(options.rounds, options.scale):
        if options.json:
            print(point.as_json(), flush=True)
            continue
        if point.curve != curve:
            curve = point.curve
            print(f"\nµs for a request and its reply, over {curve}")
        print(_point_row(point), flush=True)


def _point_row(point: Point) -> str:
    return f"{point.at:>12,} library {point.library:>8,.1f}   by hand {point.raw:>8,.1f}"


def _idle(options: argparse.Namespace) -> None:
    found = in_process_of_its_own(local.idle, max(int(IDLE_WORKERS * options.scale), 1))
    if options.json:
        print(json.dumps({"workload": "idle"} | asdict(found)))
        return
    print(f"\n{found.workers:,} idle workers: started in {found.start:.1f} s, stopped in {found.stop:.1f} s;")
    print(f"left alone for {found.seconds:g} s they used {found.cpu:.4f} s of processor time")


def _profile(name: str) -> None:
    profile = cProfile.Profile()
    profile.runcall(PROFILED[name])
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(LINES_OF_PROFILE)


if __name__ == "__main__":
    main()
