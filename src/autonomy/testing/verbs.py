"""What a simulation can do to its zone: a verb for each kind of fault.

Each may be used as ``with sim.partition("a", "b"):`` and is mended at its end. What several faults do to one place ends
with the last of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from .._sansio.border import check_delay, check_seconds
from .arguments import check_latency
from .hindrances import Hindrances
from .hosts import Host
from .lanes import Way
from .moments import Moments
from .network import LATENCY, Latency, Network


class Mended:
    """What ends a fault: call it, or use it as a block."""

    def __init__(self, mend: Callable[[], None]) -> None:
        self._mend: Callable[[], None] | None = mend

    def __call__(self) -> None:
        """End the fault; twice does no harm."""
        mend, self._mend = self._mend, None
        if mend is not None:
            mend()

    def __enter__(self) -> None:
        """The fault is there already."""

    def __exit__(self, *_: object) -> None:
        self()


class Verbs:
    """What breaks a zone; see `Simulation`."""

    def __init__(self) -> None:
        self._hosts: dict[str, Host] = {}
        self._network: Network | None = None
        self._moments: Moments | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forget what broke in another run."""
        for host in self._hosts.values():
            host.is_on = True
        self._skews: dict[str, float] = {}
        self._off = Hindrances[str, None]()
        self._full = Hindrances[str, None]()
        self._broken: dict[int, Mended] = {}
        self._numbers = itertools.count(1)

    def host(self, name: str) -> Host:
        """Return a host.

        Raises:
            ValueError: There is none of that name.
        """
        if name not in self._hosts:
            raise ValueError(f"there is no host {name!r}. There are: {', '.join(self._hosts) or 'none'}.")
        return self._hosts[name]

    @property
    def network(self) -> Network:
        """What is between the hosts, while it runs."""
        if self._network is None:
            raise RuntimeError("there is a network while the simulation runs: break it in the scenario")
        return self._network

    def _living(self, name: str) -> Host:
        """Return a host, while the simulation runs."""
        assert self.network is not None  # it says so
        return self.host(name)

    def _way(self, one: str, other: str) -> Way:
        """Return the way from one host to another."""
        if self.host(one) is self.host(other):
            raise ValueError(f"{one!r} is one host: this takes two")
        return one, other

    def _both(self, one: str, other: str) -> tuple[Way, Way]:
        """Return the ways between two hosts."""
        return self._way(one, other), (other, one)

    # --- between two hosts

    def partition(self, one: str, other: str) -> Mended:
        """Let nothing arrive between two hosts; neither is told."""
        return self._begun("partition", one, other, self.network.block(*self._both(one, other)))

    def one_way_block(self, sender: str, receiver: str) -> Mended:
        """Let nothing arrive from one host at another one."""
        return self._begun("one-way block", sender, receiver, self.network.block(self._way(sender, receiver)))

    def hold(self, sender: str, receiver: str) -> Mended:
        """Hold back what is sent on links from one host to another; it arrives later, in order. New links open."""
        return self._begun("hold", sender, receiver, self.network.hold(self._way(sender, receiver)))

    def refuse(self, caller: str, host: str) -> Mended:
        """Let one host hear from another that nobody listens there, whenever it opens a link."""
        return self._begun("refusal", caller, host, self.network.refuse(self._way(caller, host)))

    def stall(self, caller: str, host: str) -> Mended:
        """Let no link come about that one host opens to another: first packets are lost, or handshakes get stuck."""
        return self._begun("stall", caller, host, self.network.stall(self._way(caller, host)))

    def narrow(self, one: str, other: str) -> Mended:
        """Let links between two hosts take one message at a time, as where a reader is slow or a window small."""
        return self._begun("narrow", one, other, self.network.narrow(*self._both(one, other)))

    def jitter(self, one: str, other: str, greatest: float = 1.0) -> Mended:
        """Let each message between two hosts take its own time, from hardly any to `greatest` seconds."""
        least = min(LATENCY[0], check_delay(greatest, "greatest"))
        end = self.network.slow((least, greatest), *self._both(one, other))
        return self._begun("jitter", one, other, end, f": up to {greatest:g} s")

    def slow(self, one: str, other: str, latency: Latency = (0.2, 1.0)) -> Mended:
        """Let messages between two hosts take long."""
        latency = check_latency(latency)
        end = self.network.slow(latency, *self._both(one, other))
        return self._begun("slow", one, other, end, f": {latency[0]:g} to {latency[1]:g} s")

    def reset(self, one: str, other: str) -> None:
        """End the links between two hosts; what is under way is lost."""
        count = self.network.reset(*self._way(one, other))
        self._note("fault", one, other, f"reset of {count} links")

    def blackhole(self, one: str, other: str) -> None:
        """Let nothing arrive any more on the links that there are; new ones work."""
        count = self.network.blackhole(*self._way(one, other))
        self._note("fault", one, other, f"black hole for {count} links")

    # --- at one host

    def isolate(self, name: str) -> Mended:
        """Part one host from all others."""
        return self._begun("isolation", name, "", self.network.block(*self._ways(name)))

    def clog(self, name: str) -> Mended:
        """Hold back what is sent on links from one host and to it."""
        return self._begun("clog", name, "", self.network.hold(*self._ways(name)))

    def full_disk(self, name: str) -> Mended:
        """Let a host's disk be full: of what the library writes there, keys and certificates, half is written.

        Files that your own program writes are none of the simulation's.
        """
        return self._begun("full disk", name, "", self._full.begin(None, self._living(name).name))

    def skew(self, name: str, seconds: float) -> Mended:
        """Let the clock on a host's wall, ``time.time()``, be ahead by so many seconds; negative is behind."""
        self._put_forward(name, seconds)

        def end() -> None:
            self._skews[name] -= seconds

        return self._begun("skew", name, "", end, f": {seconds:+g} s")

    def jump(self, name: str, seconds: float) -> None:
        """Let the clock on a host's wall jump ahead by so many seconds, for good; negative is back."""
        self._put_forward(name, seconds)
        self._note("fault", name, "", f"clock jump: {seconds:+g} s")

    def _put_forward(self, name: str, seconds: float) -> None:
        if math.isinf(check_seconds(seconds, "seconds")):
            raise ValueError(f"seconds must be finite, got {seconds}")
        self._living(name)
        self._skews[name] = self._skews.get(name, 0.0) + seconds

    def crash(self, name: str) -> Mended:
        """Kill what runs on a host: others notice, and nobody listens there. Mended, it starts anew."""
        return self._turned_off(name, "crash", self.network.crash)

    def power_loss(self, name: str) -> Mended:
        """Turn a host off: others are not told. Mended, it starts anew."""
        return self._turned_off(name, "power loss", self.network.darken)

    def _turned_off(self, name: str, what: str, cut: Callable[[str], None]) -> Mended:
        host = self._living(name)
        cut(name)  # first, so that what is cancelled cannot say goodbye
        host.switch(on=False)
        end_one = self._off.begin(None, name)

        def end() -> None:
            end_one()
            if name not in self._off:
                self._turn_on(host)

        return self._begun(what, name, "", end)

    def restart(self, name: str) -> None:
        """Turn a host on again that is off, whatever keeps it off."""
        host = self._living(name)
        if not host.is_on:
            self._off.clear(name)
            self._turn_on(host)

    def _turn_on(self, host: Host) -> None:
        if not host.is_on:
            self.network.revive(host.name)
            host.switch(on=True)

    # --- all of it

    def heal(self) -> None:
        """Mend all that is broken, and turn all hosts on."""
        for mend in list(self._broken.values()):
            mend()

    def _begun(self, what: str, node: str, peer: str, end: Callable[[], None], more: str = "") -> Mended:
        """Note a fault that lasts; returns what ends it."""
        number = next(self._numbers)
        self._note("fault", node, peer, what + more, number)

        def mend() -> None:
            del self._broken[number]
            end()
            self._note("heal", node, peer, what, number)

        self._broken[number] = mended = Mended(mend)
        return mended

    def _ways(self, name: str) -> list[Way]:
        """Return all ways from a host and to it."""
        others = [other for other in self._hosts if other != self.host(name).name]
        return [(name, other) for other in others] + [(other, name) for other in others]

    def _note(self, kind: str, node: str, peer: str, text: str, number: int = 0) -> None:
        assert self._moments is not None
        self._moments.note(kind, node, peer, number, text)
