"""What breaks in a simulated zone, and when: values that can be drawn, shortened, printed, saved and read back.

A `Story` is known before the run that it troubles, so that the same run can be made again with less of it. The lines
that people read are the lines of the file. Next: `chaos`, which draws stories and lets them happen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .arguments import check_names

if TYPE_CHECKING:
    from .simulation import Simulation
    from .verbs import Mended

Begin = Callable[["Simulation", "Fault"], "Mended | None"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        hosts: How many it takes.
        begin: Breaks it; returns what mends it, for a kind that lasts.
        lasts: Whether it goes on until it is mended.
        joint: What stands between two hosts in a line of text.
        parameters: What else may be said of it, in seconds, with the usual values.
        drawn: Between which values a parameter is drawn; those that are not here are as usual.
        is_usual: Whether it is drawn where nobody has asked for it.
        needs_tls: Whether it befalls certificates, which there are with ``wire="tls"`` alone.
    """

    hosts: int
    begin: Begin
    lasts: bool = True
    joint: str = "–"
    parameters: dict[str, float] = field(default_factory=dict)
    drawn: dict[str, tuple[float, float]] = field(default_factory=dict)
    is_usual: bool = True
    needs_tls: bool = False


_CLOCK: Final = {"seconds": 5.0}
_CLOCK_DRAWN: Final = {"seconds": (-30.0, 30.0)}


def _slow(sim: Simulation, fault: Fault) -> Mended:
    one, other = fault.hosts
    return sim.slow(one, other, (fault.value("least"), fault.value("greatest")))


def _reset(sim: Simulation, fault: Fault) -> None:
    sim.reset(*fault.hosts)


def _blackhole(sim: Simulation, fault: Fault) -> None:
    sim.blackhole(*fault.hosts)


def _jump(sim: Simulation, fault: Fault) -> None:
    (host,) = fault.hosts
    sim.jump(host, fault.value("seconds"))


def _skew(sim: Simulation, fault: Fault) -> Mended:
    (host,) = fault.hosts
    return sim.skew(host, fault.value("seconds"))


def _jitter(sim: Simulation, fault: Fault) -> Mended:
    one, other = fault.hosts
    return sim.jitter(one, other, fault.value("greatest"))


def _renewal(sim: Simulation, fault: Fault) -> None:
    sim.renew(*fault.hosts)


def _expiry(sim: Simulation, fault: Fault) -> Mended:
    (host,) = fault.hosts
    return sim.expire(host, max(1, round(fault.value("seconds"))))


KINDS: Final[dict[str, Kind]] = {
    "partition": Kind(2, lambda sim, fault: sim.partition(*fault.hosts)),
    "one-way block": Kind(2, lambda sim, fault: sim.one_way_block(*fault.hosts), joint="→"),
    "isolation": Kind(1, lambda sim, fault: sim.isolate(*fault.hosts)),
    "slow": Kind(2, _slow, parameters={"least": 0.2, "greatest": 1.0}),
    "reset": Kind(2, _reset, lasts=False),
    "black hole": Kind(2, _blackhole, lasts=False),
    "crash": Kind(1, lambda sim, fault: sim.crash(*fault.hosts)),
    "power loss": Kind(1, lambda sim, fault: sim.power_loss(*fault.hosts)),
    "hold": Kind(2, lambda sim, fault: sim.hold(*fault.hosts), joint="→"),
    "clog": Kind(1, lambda sim, fault: sim.clog(*fault.hosts)),
    "refusal": Kind(2, lambda sim, fault: sim.refuse(*fault.hosts), joint="→"),
    "stall": Kind(2, lambda sim, fault: sim.stall(*fault.hosts), joint="→"),
    "narrow": Kind(2, lambda sim, fault: sim.narrow(*fault.hosts)),
    "jitter": Kind(2, _jitter, parameters={"greatest": 1.0}),
    "skew": Kind(1, _skew, parameters=_CLOCK, drawn=_CLOCK_DRAWN),
    "clock jump": Kind(1, _jump, lasts=False, parameters=_CLOCK, drawn=_CLOCK_DRAWN),
    "duplicate": Kind(1, lambda sim, fault: sim.duplicate(*fault.hosts), is_usual=False),
    "full disk": Kind(1, lambda sim, fault: sim.full_disk(*fault.hosts), is_usual=False),
    "renewal": Kind(1, _renewal, lasts=False, is_usual=False, needs_tls=True),
    "expiry": Kind(1, _expiry, parameters={"seconds": 1.0}, is_usual=False, needs_tls=True),
    "revocation": Kind(1, lambda sim, fault: sim.revoke(*fault.hosts), is_usual=False, needs_tls=True),
}
"""All kinds of faults that a story may have, by name."""


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise ValueError(f"{name!r} is no kind of fault. There are: {', '.join(KINDS)}.")
    return KINDS[name]


def kinds_for(hosts: int, kinds: Iterable[str] | None) -> list[str]:
    """Return those of some kinds, or if that is None of the usual ones, for which there are hosts enough.

    Raises:
        ValueError: There are none, or one is no kind.
    """
    usual = [name for name, kind in KINDS.items() if kind.is_usual]
    wanted = usual if kinds is None else check_names(kinds, "kinds")
    able = [name for name in wanted if _kind(name).hosts <= hosts]
    if not able:
        raise ValueError(f"{hosts} hosts are too few for such faults: add the nodes first")
    return able


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks.

    Attributes:
        kind: One of `KINDS`.
        hosts: Where; for ``one-way block`` from the first to the second.
        at: Virtual seconds since the beginning of the run.
        for_seconds: After so long it is mended; 0 for a kind that is over at once.
        parameters: Name and value of what is not as usual, such as ``(("least", 2.0), ("greatest", 3.0))``.

    Raises:
        ValueError: There is no such fault.
    """

    kind: str
    hosts: tuple[str, ...]
    at: float
    for_seconds: float = 0.0
    parameters: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        kind = _kind(self.kind)
        if len(self.hosts) != kind.hosts or len(dict.fromkeys(self.hosts)) != kind.hosts:
            raise ValueError(f"{self.kind} takes {kind.hosts} different host(s), not {', '.join(self.hosts) or 'none'}")
        if not (math.isfinite(self.at) and self.at >= 0):
            raise ValueError(f"{self.kind} at {self.at} s: the run begins at 0 s")
        if not (math.isfinite(self.for_seconds) and self.for_seconds >= 0):
            raise ValueError(f"{self.kind} for {self.for_seconds} s: nothing lasts so long")
        if kind.lasts != (self.for_seconds > 0):
            wanted = "lasts: write for how many seconds" if kind.lasts else "is over at once: it has no 'for'"
            raise ValueError(f"{self.kind} {wanted}")
        for name, value in self.parameters:
            if name not in kind.parameters:
                known = ", ".join(kind.parameters) or "none"
                raise ValueError(f"{self.kind} has no {name!r}. It has: {known}.")
            if not math.isfinite(value) or (value < 0 and name not in kind.drawn):
                raise ValueError(f"{self.kind} with {name} {value} s: nothing is so slow")

    def __str__(self) -> str:
        when = f"at {_number(self.at)} s"
        if self.for_seconds:
            when += f" for {_number(self.for_seconds)} s"
        said = "".join(f", {name} {_number(value)} s" for name, value in self.parameters)
        return f"{when}: {self.kind} {f' {KINDS[self.kind].joint} '.join(self.hosts)}{said}"

    @property
    def ends_at(self) -> float:
        """Virtual seconds until it is mended."""
        return self.at + self.for_seconds

    @property
    def needs_tls(self) -> bool:
        """Whether it befalls certificates."""
        return KINDS[self.kind].needs_tls

    def value(self, parameter: str) -> float:
        """Return what is said of it, or the usual value."""
        return dict(self.parameters).get(parameter, KINDS[self.kind].parameters[parameter])

    def begin(self, sim: Simulation) -> Mended | None:
        """Break it now, whatever `at` says; returns what mends it."""
        return KINDS[self.kind].begin(sim, self)

    @classmethod
    def parse(cls, line: str) -> Fault:
        """Read what `str` wrote; ``-`` and ``->`` will do for ``–`` and ``→``.

        Raises:
            ValueError: It is not a fault.
        """
        found = _LINE.fullmatch(line.strip())
        if found is None:
            wanted = "at 1.2 s for 3 s: partition main – runner-1"
            raise ValueError(f"expected a line such as {wanted!r}. Got: {line.strip()!r}")
        kind = found["kind"]
        hosts, *said = found["rest"].split(", ")
        parameters = tuple(_parameter(words) for words in said)
        places = tuple(re.split(r" (?:–|-|→|->) ", hosts))
        return cls(kind, places, _seconds(found["at"]), _seconds(found["for"] or "0"), parameters)


@dataclass(frozen=True, slots=True)
class Story:
    """What breaks in one run, in order of time.

    Attributes:
        faults: One after the other, as they begin.
        seed: Of the run in which it happened, if it is known: with it, the story repeats that run.
    """

    faults: tuple[Fault, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "faults", tuple(sorted(self.faults, key=lambda fault: fault.at)))

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults)) or "(nothing breaks)"

    def __len__(self) -> int:
        return len(self.faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.faults)

    @property
    def ends_at(self) -> float:
        """Virtual seconds until the last fault is mended."""
        return max((fault.ends_at for fault in self.faults), default=0.0)

    def save(self, path: str | Path) -> None:
        """Write it as a text file, one fault a line, below a line with the seed."""
        lines = [] if self.seed is None else [f"seed {self.seed}"]
        Path(path).write_text("".join(f"{line}\n" for line in [*lines, *map(str, self.faults)]), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Story:
        """Read what `save` wrote, or a person: empty lines, and lines that begin with #, say nothing.

        Raises:
            ValueError: A line is wrong; the text has the file and the number of the line.
        """
        seed: int | None = None
        faults: list[Fault] = []
        try:
            text = Path(path).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no story: it is not text in UTF-8 ({error})") from None
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                if line.startswith("seed "):
                    seed = _seed(line, seed, faults)
                else:
                    faults.append(Fault.parse(line))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
        return cls(tuple(faults), seed)


_LINE: Final = re.compile(
    rf"at (?P<at>[\d.e+-]+) s(?: for (?P<for>[\d.e+-]+) s)?: (?P<kind>{'|'.join(KINDS)}|\S+) (?P<rest>.+)"
)


def _number(value: float) -> str:
    """Write a number so that the same is read back, 3.0 as 3."""
    return repr(float(value)).removesuffix(".0")


def _parameter(words: str) -> tuple[str, float]:
    found = re.fullmatch(r"(\w+) ([\d.e+-]+) s", words)
    if found is None:
        raise ValueError(f"expected a name and seconds, such as 'least 0.2 s'. Got: {words!r}")
    return found[1], _seconds(found[2])


def _seconds(words: str) -> float:
    try:
        return float(words)
    except ValueError:
        raise ValueError(f"expected seconds, such as 1.2. Got: {words!r}") from None


def _seed(line: str, seed: int | None, faults: list[Fault]) -> int:
    if seed is not None or faults:
        raise ValueError("the seed is said once, before the first fault")
    number = line.removeprefix("seed ").strip()
    if not number.isdecimal():
        raise ValueError(f"expected a line such as 'seed 3'. Got: {line!r:.80}")
    return int(number)
