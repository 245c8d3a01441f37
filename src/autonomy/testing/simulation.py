"""A whole zone in one process, from one seed, in virtual time, with faults: the same run twice, whenever it is wanted.

Each host runs a node of its own over a network that exists here alone. A scenario, a coroutine beside the nodes, tells
the story: it may send, wait, break and mend. A failure comes with the seed that repeats it and the faults before it.

Source: FoundationDB's simulation and turmoil's interface.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, get_args

import trio
import trio.testing

from .._sansio.address import check_node_name
from .._sansio.border import check_awaitable, check_callable, check_count, check_delay
from .._sansio.members import ZoneInfo
from .._sansio.points import deciding
from ..node import Node, open_node
from .arguments import check_latency, check_names, check_rate, check_seed, check_share, check_until
from .certificates import Certificates, CertificateVerbs
from .chance import EXTRA, derive, seed_scheduler
from .chaos import GRACE, draw, play_out, swizzle
from .disks import full_disks
from .faults import Story
from .hosts import Host, Main
from .moments import Moments
from .network import LATENCY, Latency, Network, address_of
from .odd_turns import OddTurns
from .programs import Program
from .runs import Report, SimulationFailed, told
from .stand_ins import EPOCH, here, stand_ins
from .standstill import Standstill
from .streams import BYTES, secured
from .verbs import Mended
from .zones import SimulatedZone

_TICK: Final = 1e-5
"""Seconds that a look at the clock takes, for workers and senders that run on: a slice is a count of these."""
_CHECKED_EVERY: Final = 0.1

Wire = Literal["messages", "tls"]
Scenario = Callable[["Simulation"], Awaitable[object]]


class Simulation(CertificateVerbs):
    """A zone of simulated hosts.

    Example:
        ```python
        sim = Simulation(seed=7)
        sim.node("bank", bank_main)
        sim.node("shop", shop_main)


        async def scenario(sim):
            shop = await sim.host("shop").up()
            with sim.partition("shop", "bank"):
                await trio.sleep(3)
            assert await shop.send_and_receive("account@bank", "balance") == "100"


        sim.run(scenario)
        ```

    Args:
        seed: Everything that is left to chance follows from it. None for the environment variable AUTONOMY_SIM_SEED, or
            a new one; a failure names it.
        latency: Least and greatest seconds that a message takes.
        buggify: The share of points of `autonomy.buggify`, in the library and in your program, that are alive in a run.
        wire: How nodes are linked: by ``"messages"``, or by ``"tls"``, the library's own TLS and websockets over
            streams of bytes that are simulated, which takes about twice as long.
        story: What breaks, instead of all that `chaos` and `apply` would break: a run made again with less of it.
        zone: The zone whose nodes the hosts are: they find each other, and the names of workers, by its directory, and
            may do everything to each other, as in a zone that was deployed. ``ZoneInfo()`` will do; with a name and a
            cluster, hosts are called ``{cluster}-{zone}-{node}``. None for hosts that know each other from the start.
        directory: The host that keeps the zone's directory. None for one of its own, ``zone_authority``, whose node
            programs do not see; faults reach it.

    Attributes:
        report: What happened in the last run, or None.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        latency: Latency = LATENCY,
        buggify: float = 0.25,
        wire: Wire = "messages",
        story: Story | None = None,
        zone: ZoneInfo | None = None,
        directory: str | None = None,
    ) -> None:
        if not isinstance(story, Story | None):
            raise TypeError(f"story must be a Story, got {story!r:.80}. Story.load(FILE) reads one.")
        if wire not in get_args(Wire):
            raise ValueError(f"wire must be one of {', '.join(map(repr, get_args(Wire)))}, got {wire!r:.80}")
        self.seed = check_seed(story.seed if seed is None and story is not None else seed)
        super().__init__()
        self._latency = check_latency(latency)
        self._buggify = check_share(buggify, "buggify")
        self._wire: Wire = wire
        self._odd_turns = OddTurns(self.chance, buggify)
        self._nursery: trio.Nursery | None = None
        self._always: list[Callable[[Simulation], object]] = []
        self._sometimes: dict[str, Callable[[Simulation], object]] = {}
        self._seen: dict[str, int] = {}
        self._eventually: list[tuple[Callable[[Simulation], object], float]] = []
        self._starts = itertools.count(1)
        self._given = story
        self._story = story
        self._grace = GRACE
        self._calm = trio.Event()
        self._ended_at = 0.0
        self._zone: SimulatedZone | None = None
        self.report: Report | None = None
        if not isinstance(zone, ZoneInfo | None):
            raise TypeError(
                f"zone must be a ZoneInfo, got {zone!r:.80}. ZoneInfo() will do; a folder is for sim.zone()."
            )
        if zone is not None:
            self._begin_zone(zone, directory)
        elif directory is not None:
            raise ValueError(f"directory={directory!r} keeps the directory of a zone: write zone=ZoneInfo(), too")

    def chance(self, *purpose: object) -> Random:
        """Return a source of chance of its own for a purpose."""
        return derive(self.seed, *purpose)

    # --- who is there

    def node(self, name: str, main: Main | None = None, **options: Any) -> Host:
        """Add a host with a node.

        Args:
            name: Of both; the others reach its workers as ``worker@name``.
            main: Runs on it at each start; the node stays up when it returns.
            options: As for `open_node`. All hosts know each other's addresses, unless there is a ``directory=``: then
                they learn them from it. An `EmbeddedDirectory` is at ``wss://HOST:1``.
        """
        if main is not None:
            check_callable(main, "main")
        if "listen" in options:
            raise ValueError(f"host {name!r} listens at {address_of(name)!r}: leave out listen=")
        return self._add(Host(name, main, options))

    def _add(self, host: Host) -> Host:
        check_node_name(host.name)
        if host.name in self._hosts:
            raise ValueError(f"there is a host {host.name!r} already")
        self._hosts[host.name] = host
        return host

    def nodes(self, name: str, count: int, main: Main | None = None, **options: Any) -> list[Host]:
        """Add hosts that do the same: ``name-0``, ``name-1`` and so on."""
        check_count(count, "count", 0)
        return [self.node(f"{name}-{number}", main, **options) for number in range(count)]

    def program(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        folder: str | os.PathLike[str] | None = None,
        modules: Sequence[str | os.PathLike[str]] = (),
    ) -> Host:
        """Add a host that runs a program file as it is, from its first line at each start.

        Args:
            name: Of the host, and of its node in full: ``{cluster}-{zone}-{node}`` if `environment` has CLUSTER and
                ZONE.
            path: A Python file that ends in ``Node.start(main)``, in ``trio.run(main)`` with `open_node` in it, or in
                ``asyncio.run(main())`` with `autonomy.aio`.
            environment: Its variables, all of them, but that NODE is `name` unless it says otherwise.
            arguments: What follows the file in ``sys.argv``.
            folder: The one it works in; None for that of this process.
            modules: Folders whose modules each host imports for itself, besides that of the file.

        Raises:
            FileNotFoundError: There is no such file.
        """
        file = Path(path).absolute()
        if not file.is_file():
            raise FileNotFoundError(f"there is no program file {str(path)!r}")
        own = [Path(one).absolute() for one in modules]
        program = Program(file, dict(environment or {}), tuple(arguments), Path(folder or ".").absolute(), own)
        return self._add(Host(name, None, {}, program))

    def zone(
        self,
        folder: str | os.PathLike[str],
        *,
        cluster: str = "local",
        environment: Mapping[str, str] | None = None,
    ) -> list[Host]:
        """Add the hosts of a zone as ``autonomy zone deploy`` would start them: one for each container of each clone.

        Each is called ``{cluster}-{zone}-{container}``, with ``-{number}`` in a pod with clones, and runs the program
        of its image in a copy of its folder that is new for each run. Those of ``main-pod`` start when all others are
        ready. A program that fails is started again; more than 3 times within 60 s is a failure of the run.

        Args:
            folder: With ``autonomy.yaml`` and ``images``.
            cluster: The first part of all names.
            environment: Variables that all of them have; those of images and of ``autonomy.yaml`` are stronger.

        Raises:
            ZoneFileError: Something in the folder is not as it must be, or an image does not run a Python file.
            DeployFailed: A file that an image names is not there.
            ValueError: The simulation has a zone already.
        """
        try:
            from .deployed_zones import deployed  # noqa: PLC0415  # it reads YAML, which is an extra
        except ModuleNotFoundError as error:
            raise ImportError(f"a zone's folder needs {error.name}: {EXTRA}") from error

        wanted = deployed(Path(folder), cluster, dict(environment or {}))
        hosts = wanted.hosts(partial(self._note, "stop"))
        self._begin_zone(wanted.info, None)
        assert self._zone is not None
        self._zone.wanted = wanted
        return [self._add(host) for host in hosts]

    def _begin_zone(self, info: ZoneInfo, directory: str | None) -> None:
        if self._zone is not None:
            raise ValueError(f"the simulation has a zone already: {self._zone.info.name!r}")
        self._zone = SimulatedZone(info, directory)
        if directory is None:
            self._add(self._zone.authority())

    # --- what must hold

    def always(self, check: Callable[[Simulation], object]) -> None:
        """Call `check` every tenth of a second and at the end: what it raises, or False, is a failure."""
        self._always.append(check_callable(check, "check"))

    def sometimes(self, name: str, condition: Callable[[Simulation], object]) -> None:
        """Count how often a condition holds, looked at as often: a test of what never happens proves nothing."""
        self._sometimes[name] = check_callable(condition, "condition")
        self._seen[name] = 0

    def eventually(self, condition: Callable[[Simulation], object], *, within: float) -> None:
        """Have a condition become true within so many seconds, else the run has failed.

        They count from when everything is mended (see `calm`), or without a story from the beginning. It is looked at
        every tenth of a second, until it has held once; a scenario that has returned is waited for until then.
        """
        self._eventually.append((check_callable(condition, "condition"), check_delay(within, "within")))

    # --- stories

    @property
    def story(self) -> Story:
        """What breaks in the run, as far as it is known before."""
        return Story(self._story.faults if self._story else (), self.seed)

    def apply(self, story: Story, *, grace: float = GRACE) -> None:
        """Let a story happen beside the scenario, after those applied before.

        Then everything is mended (see `heal`), and the scenario must end within `grace` seconds. Without a scenario,
        the run ends then.
        """
        if not isinstance(story, Story):
            raise TypeError(f"story must be a Story, got {story!r:.80}. Story.load(FILE) reads one.")
        self._grace = check_delay(grace, "grace")
        if self._given is None:
            self._story = Story((*self.story.faults, *story.faults), self.seed)

    def chaos(
        self,
        *,
        rate: float = 1 / 4,
        for_: float = 120.0,
        kinds: Iterable[str] | None = None,
        hosts: Iterable[str] | None = None,
        grace: float = GRACE,
    ) -> Story:
        """Draw a story from the seed and `apply` it; returns it.

        Args:
            rate: Faults a second, on average.
            for_: Seconds until the last one is mended.
            kinds: Some of `faults.KINDS`; None for all that networks and machines do by themselves.
            hosts: To which it may happen; None for all that have been added.
            grace: See `apply`.
        """
        rate, for_ = check_rate(rate), check_delay(for_, "for_")
        drawn = draw(self.chance("chaos"), self._some(hosts), rate=rate, for_=for_, kinds=kinds)
        self.apply(drawn, grace=grace)
        return drawn

    def swizzle(self, *, at: float, for_: float, hosts: Iterable[str] | None = None) -> Story:
        """Draw from the seed which hosts are clogged, one after the other, and freed in another order; `apply` it.

        Args:
            at: When it begins.
            for_: Seconds until the last one is free.
            hosts: Some of these; None for all that have been added.
        """
        at, for_ = check_delay(at, "at"), check_delay(for_, "for_", zero=False)
        drawn = Story(tuple(swizzle(self.chance("swizzle", at), self._some(hosts), at=at, for_=for_)))
        self.apply(drawn, grace=self._grace)
        return drawn

    def _some(self, hosts: Iterable[str] | None) -> list[str]:
        """Return the hosts that something may happen to."""
        if hosts is None:
            return list(self._hosts)
        return [self.host(name).name for name in check_names(hosts, "hosts")]

    async def calm(self) -> None:
        """Wait until the story is over and everything is mended.

        Raises:
            RuntimeError: It does not run.
        """
        if self._network is None:
            raise RuntimeError("it becomes calm while the simulation runs: wait for that in the scenario")
        await self._calm.wait()

    # --- the run

    def run(self, scenario: Scenario | None = None, *, until: float = 300.0) -> Report:
        """Run the nodes, and the scenario beside them, until that has returned or `until` virtual seconds are over.

        Raises:
            SimulationFailed: The scenario, a node's main or a check failed.
            RuntimeError: There is a Trio run already, such as that of an async test.
        """
        if scenario is not None:
            check_callable(scenario, "scenario")
        until = check_until(until)
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("a simulation is a Trio run of its own: call run() from a plain function")
        for fault in self.story:
            if fault.needs_tls and self._wire != "tls":
                raise ValueError(f'without Simulation(wire="tls") there are no certificates: {fault}')
            for name in fault.hosts:
                if name not in self._hosts:
                    raise ValueError(f"there is no host {name!r}: {fault}")
        if self._zone is not None and self._zone.keeper not in self._hosts:
            raise ValueError(f"there is no host {self._zone.keeper!r} to keep the directory")
        seed_scheduler(self.seed)
        try:
            trio.run(self._run, scenario, until, clock=trio.testing.MockClock(autojump_threshold=0))
        except Exception as error:  # noqa: BLE001  # whatever a program raises, with its story
            self.report = self._report()
            cause = _innermost(error)
            raise SimulationFailed(told(cause, self.report, self._story), self.report, self.story) from cause
        self.report = self._report()
        return self.report

    async def _run(self, scenario: Scenario | None, until: float) -> None:
        clock, began = trio.lowlevel.current_clock(), trio.current_time()

        def elapsed() -> float:  # also in threads
            return clock.current_time() - began

        def skew(host: str) -> float:
            return self._skews.get(host, 0.0)

        self._moments = Moments(elapsed)
        self._begin_anew()
        self._odd_turns = OddTurns(self.chance, self._buggify)
        self._seen = dict.fromkeys(self._sometimes, 0)
        self._starts = itertools.count(1)
        self._network = self._new_network(self._moments)
        try:
            places = stand_ins(
                self.chance("programs"),
                skew,
                lambda host, line: self._note("print", host, "", line),
            )
            disks, turns = full_disks(lambda: here.get() in self._full), deciding(self._odd_turns.decide)
            laid_out = nullcontext() if self._zone is None else self._zone.laid_out()
            securing = self._securing(lambda host: EPOCH + elapsed() + skew(host))
            with laid_out, places, disks, turns, securing:
                await self._tell(scenario, until)
        finally:
            self._ended_at = elapsed()
            self._network = None

    def _new_network(self, moments: Moments) -> Network:
        chance = partial(self.chance, "network")
        if self._wire == "messages":
            return Network(chance, moments, self._latency)
        return Network(chance, moments, self._latency, BYTES, lambda _: "")  # sizes differ with each signature

    @contextmanager
    def _securing(self, wall: Callable[[str], float]) -> Generator[None]:
        """Have an authority, if there is TLS."""
        if self._wire == "messages":
            yield
            return
        with TemporaryDirectory() as folder:
            self._certificates = Certificates(Path(folder) / "authority", self._hosts, wall)
            try:
                yield
            finally:
                self._certificates = None

    def _linked(self, machine: str, name: str) -> dict[str, Any]:
        """Return how a node on a machine is linked to others, as options of `open_node`."""
        if self._certificates is None:
            return {"transport": self.network.transport(machine, name)}
        own = self._certificates.of(name)
        return {"credentials": own, "transport": secured(self.network, machine, own, self.chance("bytes", machine))}

    async def _tell(self, scenario: Scenario | None, until: float) -> None:
        self._calm = trio.Event()
        stuck: list[str] = []
        async with trio.open_nursery() as self._nursery:
            nursery = self._nursery

            def stop(who: str) -> None:
                stuck.append(who)
                nursery.cancel_scope.cancel()

            trio.lowlevel.add_instrument(Standstill(stop))
            for host in self._hosts.values():
                nursery.start_soon(host.live, self._open, self._introduce, name=host.name)
            nursery.start_soon(self._check_for_ever)
            waits: dict[str, None] = {}
            with trio.move_on_after(until):
                async with trio.open_nursery() as play:
                    for condition, within in self._eventually:
                        play.start_soon(self._wait_until_true, condition, within, waits)
                    await self._play(scenario)
            for name in waits:
                raise AssertionError(f"{name} has not become true when the run was over, after {until:g} s")
            self._check()
            nursery.cancel_scope.cancel()
        for who in stuck:
            raise AssertionError(
                f"virtual time stands still, for somebody runs on without waiting: {who}. Is there a loop around "
                "trio.sleep(0)? Let it wait for something, or for some time."
            )

    async def _wait_until_true(
        self, condition: Callable[[Simulation], object], within: float, waits: dict[str, None]
    ) -> None:
        name = _name_of(condition)
        waits[name] = None
        await self._calm.wait()
        latest = trio.current_time() + within
        while not condition(self):
            if trio.current_time() >= latest:
                raise AssertionError(f"{name} has not become true within {within:g} s")
            await trio.sleep(min(_CHECKED_EVERY, latest - trio.current_time()))
        waits.pop(name, None)

    async def _play(self, scenario: Scenario | None) -> None:
        if self._story is not None:
            await play_out(self, self._story, scenario, calm=self._calm, grace=self._grace)
            return
        self._calm.set()
        if scenario is None:
            await trio.sleep_forever()
        else:
            await check_awaitable(scenario(self), "scenario", scenario)

    def duplicate(self, name: str) -> Mended:
        """Start another host, whose node has the same name and certificate, and runs the same. Mended, it dies."""
        self._living(name)
        assert self._nursery is not None
        machine = f"{name}.twin-{next(self._numbers)}"
        twin = self.host(name).twin()
        self._nursery.start_soon(twin.live, partial(self._open, machine=machine), self._introduce, name=machine)

        def end() -> None:
            self.network.crash(machine)
            twin.switch(on=False)

        return self._begun("duplicate", name, "", end)

    def _open(self, host: Host, *, machine: str = "") -> Any:
        machine = machine or host.name
        start = next(self._starts)
        incarnation = f"{self.chance('incarnation', host.name, start).getrandbits(128):032x}"
        ticks = itertools.count()
        options: dict[str, Any] = {
            **self._linked(machine, host.name),
            "stall_warning": None,
            "slice_clock": lambda: next(ticks) * _TICK,
            "new_incarnation": lambda: incarnation,
        }
        if self._zone is not None:
            options |= self._zone.options_of(host)
        self._note("start", machine, "", "")
        return open_node(host.name, **(options | host.options | {"listen": address_of(machine)}))

    def _introduce(self, node: Node) -> None:
        assert node._remoting is not None
        if node.zone is not None:
            return  # its directory tells it who is there
        for name in self._hosts:
            if name != node.name:
                node._remoting.introduce(name, address_of(name))

    async def _check_for_ever(self) -> None:
        while True:
            await trio.sleep(_CHECKED_EVERY)
            self._check()

    def _check(self) -> None:
        for check in self._always:
            if check(self) is False:
                raise AssertionError(f"{_name_of(check)} does not hold")
        for name, condition in self._sometimes.items():
            self._seen[name] += bool(condition(self))

    def _report(self) -> Report:
        assert self._moments is not None
        moments, seen, turns = self._moments, dict(self._seen), self._odd_turns.taken
        return Report(self.seed, self._ended_at, tuple(moments.all), moments.hash(), seen, turns)


def _name_of(check: object) -> str:
    return str(getattr(check, "__name__", check))


def _innermost(error: BaseException) -> BaseException:
    """Return the first failure within groups of them."""
    while isinstance(error, BaseExceptionGroup):
        error = next(iter(error.exceptions))
    return error
