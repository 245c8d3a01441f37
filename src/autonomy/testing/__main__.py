"""``python -m autonomy.testing``: replay a failure, sweep many seeds, check that a program is the same twice.

TARGET is ``module:function``, where the function takes a `Simulation`, puts hosts into it and runs it, and fails by
raising. A test with the fixture ``simulation``, and no other, is such a function.

Exit codes: 0, everything held; 1, something failed, or differed; 2, it was asked for wrongly.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from .arguments import SEED
from .faults import Story
from .plays import Performance, perform, shrink
from .runs import SimulationFailed, told
from .sweeping import Result, difference, load, never, perturbed, sweep

EXAMPLE = f"{__package__}.example_zone:play"


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words say; returns the exit code."""
    options = _parser().parse_args(words)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m autonomy.testing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("replay", help="run one seed, or one saved story, and say what happens")
    one.add_argument("--story", type=Path, metavar="FILE", help="what breaks, instead of what the target draws")
    one.add_argument("--shrink", action="store_true", help="if it fails, look for the shortest story that does")
    one.add_argument("--save", type=Path, metavar="FILE", help="if it fails, write the story to this file")
    one.add_argument("--report", type=Path, metavar="FILE", help="draw the run, or the shrunk one, as an HTML file")
    one.set_defaults(command=_replay)

    many = commands.add_parser("sweep", help="run many seeds and say which fail")
    many.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    many.add_argument("--save", type=Path, metavar="FOLDER", help="write the story of each failure there")
    many.set_defaults(command=_sweep)

    twice = commands.add_parser(
        "check-determinism",
        help="run seeds twice, in processes with other hash seeds and other memory, and compare",
        description="Without TARGET it runs a small zone of its own, with every kind of fault.",
    )
    twice.set_defaults(command=_check_determinism)

    trace = commands.add_parser("trace", help="run one seed and print all that happens")
    trace.add_argument("--perturb", action="store_true", help=argparse.SUPPRESS)
    trace.set_defaults(command=_trace)

    for command in (one, many, trace):
        command.add_argument("target", metavar="TARGET", help="module:function")
    twice.add_argument("target", metavar="TARGET", nargs="?", default=EXAMPLE, help="module:function")
    for command in (one, trace):
        command.add_argument("--seed", type=int, metavar="N", help=f"default: the story's, or {SEED}, or a new one")
    many.add_argument("--seeds", type=_seeds, default=range(1, 101), metavar="A-B", help="default: 1-100")
    twice.add_argument("--seeds", type=_seeds, default=range(1, 4), metavar="A-B", help="default: 1-3")
    for command in (one, many, twice):
        command.add_argument("--json", action="store_true", help="print JSON, one object a line")
    return parser


def _seeds(words: str) -> range:
    first, dash, last = words.partition("-")
    if not first.isdecimal() or not (last.isdecimal() if dash else not last):
        raise argparse.ArgumentTypeError(f"expected seeds such as 1-1000, or one. Got: {words!r}")
    seeds = range(int(first), int(last or first) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"{words} are no seeds: the first comes first")
    return seeds


def _replay(options: argparse.Namespace) -> int:
    for option, path in (("--save", options.save), ("--report", options.report)):
        if path is not None and not path.parent.is_dir():  # now: what is found would be lost
            raise ValueError(f"{option} {path}: there is no folder {str(path.parent)!r}")
    story = Story.load(options.story) if options.story else None
    play = load(options.target)
    performance = perform(play, options.seed, story)
    if performance.error is not None and options.shrink:
        performance = shrink(play, performance)
    if performance.error is not None and options.save:
        performance.story.save(options.save)
    if options.report:
        performance.report.save(options.report, failure=str(performance.error or ""))
    _say(_as_json(Result.of(performance)) if options.json else _told(performance))
    return int(performance.error is not None)


def _told(performance: Performance) -> str:
    if performance.error is None:
        return f"{performance}, {_faults(len(performance.story))}, {performance.report.ended_at:.1f} virtual seconds"
    if isinstance(performance.error, SimulationFailed):
        return str(performance.error)
    return told(performance.error, performance.report, performance.story)  # it came after the run


def _faults(count: int) -> str:
    return "1 fault" if count == 1 else f"{count} faults"


def _sweep(options: argparse.Namespace) -> int:
    load(options.target)  # if there is none, that is said once and at once
    if options.jobs < 1:
        raise ValueError(f"--jobs {options.jobs}: it takes at least one process")
    began = monotonic()
    results: list[Result] = []
    for result in sweep(options.target, options.seeds, jobs=options.jobs):
        results.append(result)
        if options.json:
            _say(_as_json(result))
        elif result.failure:
            _say(f"seed {result.seed}: {result.failure}")
        if result.failure and options.save:
            options.save.mkdir(parents=True, exist_ok=True)
            result.story.save(options.save / f"seed-{result.seed}.story")
        _progress(results, len(options.seeds))
    failed = [result.seed for result in results if result.failure]
    unseen = never(results)
    faults, virtual = sum(len(result.story) for result in results), sum(result.virtual_seconds for result in results)
    if not options.json:
        for name in unseen:
            _say(f"never seen in any run: {name}")
        _say(
            f"{len(results)} seed{'s' * (len(results) != 1)}, {len(failed)} failed;"
            f" {_faults(faults)}, {virtual:.0f} virtual seconds in {monotonic() - began:.0f} s"
        )
        if failed:
            _say(f"next: python -m autonomy.testing replay {options.target} --seed {failed[0]} --shrink")
    return int(bool(failed or unseen))


def _progress(results: list[Result], count: int) -> None:
    """Say on the error stream how far it is, ten times or so."""
    if len(results) % max(1, count // 10) == 0:
        sys.stderr.write(f"{len(results)} of {count}, {sum(bool(result.failure) for result in results)} failed\n")


def _check_determinism(options: argparse.Namespace) -> int:
    differing = 0
    for seed in options.seeds:
        parted = difference(options.target, seed)
        differing += bool(parted)
        if options.json:
            _say(json.dumps({"seed": seed, "same": not parted, "difference": parted}))
        else:
            _say(f"seed {seed}: {parted or 'the same twice'}")
    return int(bool(differing))


def _trace(options: argparse.Namespace) -> int:
    kept = perturbed() if options.perturb else []
    performance = perform(load(options.target), options.seed)
    for moment in performance.report.moments:
        _say(f"{moment.at!r} {moment} {moment.number}")
    _say(str(performance))
    kept.clear()
    return int(performance.error is not None)


def _as_json(result: Result) -> str:
    values = vars(result) | {"story": [str(fault) for fault in result.story], "passed": not result.failure}
    return json.dumps(values)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
