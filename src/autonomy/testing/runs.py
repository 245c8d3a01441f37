"""What is left of a run: a report, or a failure with one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from .arguments import SEED
from .faults import Story
from .moments import Moment
from .report import write_report

_LAST: Final = 50


class SimulationFailed(AssertionError):
    """A simulated run failed. The text has the seed, the faults and the last moments; the failure is the cause.

    Attributes:
        report: What happened until then.
        story: What was to break: `Simulation(story=...)` breaks it again.
    """

    def __init__(self, text: str, report: Report, story: Story) -> None:
        super().__init__(text)
        self.report = report
        self.story = story


@dataclass(frozen=True)
class Report:
    """What happened in a run.

    Attributes:
        seed: What repeats it.
        ended_at: Virtual seconds that it took.
        moments: Everything that was noted, in order.
        trace_hash: The same for two runs that were the same, moment by moment.
        sometimes: How often each condition of `Simulation.sometimes` was seen to hold.
        points: How often each point of `autonomy.buggify` that the run came by said yes.
    """

    seed: int
    ended_at: float
    moments: tuple[Moment, ...]
    trace_hash: str
    sometimes: dict[str, int]
    points: dict[str, int] = field(default_factory=dict)

    @property
    def again(self) -> str:
        """What repeats the run, set in the environment."""
        return f"{SEED}={self.seed}"

    @property
    def faults(self) -> list[Moment]:
        """What was broken and mended."""
        return [moment for moment in self.moments if moment.kind in ("fault", "heal")]

    @property
    def output(self) -> dict[str, list[str]]:
        """The lines that each host has printed; a host that printed none is not in it."""
        lines: dict[str, list[str]] = {}
        for moment in self.moments:
            if moment.kind == "print":
                lines.setdefault(moment.node, []).append(moment.text)
        return lines

    def story(self) -> str:
        """Return the faults and the last moments, for people."""
        faults = "\n".join(map(str, self.faults)) or "  (none)"
        last = "\n".join(map(str, self.moments[-_LAST:]))
        return f"seed {self.seed}, virtual time {self.ended_at:.4f}\nfaults:\n{faults}\nlast moments:\n{last}"

    def save(self, path: str | os.PathLike[str], *, failure: str = "") -> None:
        """Write the run as a picture, one HTML file; see `write_report`."""
        write_report(path, self, failure=failure)


def told(cause: BaseException, report: Report, story: Story | None) -> str:
    """Return what went wrong, what happened before, and what repeats it, for people."""
    text = f"{type(cause).__name__}: {cause}\n{report.story()}\nagain: {report.again}"
    return text if story is None else f"{text}\nstory:\n{story}"
