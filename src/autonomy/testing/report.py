"""A run as a picture: one HTML file with hosts as lanes, messages as arrows and faults as bands.

Here the moments are paired, sends with receives and faults with heals, and put into the page; `report.html` draws. The
file needs no network, and its policy lets nothing run but its own script, whatever the moments say.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .moments import Moment

if TYPE_CHECKING:  # a report saves itself by this file
    from .runs import Report

Pair = tuple[int, int]
"""Where two moments that belong together are in the run; -1 for a second one that never came."""
NEVER: Final = -1
_AT_ONCE: Final = ("reset", "black hole", "clock jump", "renewal", "new CRL", "CA ")
"""How the texts of faults begin that nothing heals, because they are over at once."""


def write_report(path: str | PathLike[str], report: Report, *, failure: str = "") -> None:
    """Write a run as one HTML file, to be opened in a browser.

    Args:
        path: The file; one that is there is replaced.
        report: The run.
        failure: What went wrong, for people: it stands above the picture, and the end of the run is marked.
    """
    page = resources.files(__package__).joinpath("report.html").read_text("utf-8")
    for name, element in (("@SCRIPT@", "script"), ("@STYLE@", "style")):
        page = page.replace(name, _source(page, element))
    before, _, after = page.partition("@DATA@")  # last and once: what the moments say is put nowhere else
    Path(path).write_bytes((before + _as_data(report, failure) + after).encode())


def messages(moments: Sequence[Moment]) -> list[Pair]:
    """Return where each message was sent and received."""
    received: defaultdict[int, list[int]] = defaultdict(list)
    for place, moment in enumerate(moments):
        if moment.kind == "receive":
            received[moment.number].append(place)
    return [
        (sent, place)
        for sent, moment in enumerate(moments)
        if moment.kind == "send"
        for place in received.get(moment.number, [NEVER])
    ]


def bands(moments: Sequence[Moment]) -> list[Pair]:
    """Return where each fault began and was mended; one that was over at once is mended where it began."""
    mended = {moment.number: place for place, moment in enumerate(moments) if moment.kind == "heal"}
    return [
        (place, place if moment.text.startswith(_AT_ONCE) else mended.get(moment.number, NEVER))
        for place, moment in enumerate(moments)
        if moment.kind == "fault"
    ]


def hosts(moments: Sequence[Moment]) -> list[str]:
    """Return the hosts, ``a-2`` before ``a-10``."""
    names = {name for moment in moments for name in (moment.node, moment.peer) if name}
    return sorted(names, key=lambda name: [(part.isdecimal(), part.zfill(20)) for part in re.split(r"(\d+)", name)])


def _as_data(report: Report, failure: str) -> str:
    """Return what the page draws, as JSON that no HTML parser takes for anything else."""
    moments = report.moments
    data = {
        "seed": report.seed,
        "again": report.again,
        "ended": report.ended_at,
        "failure": failure,
        "hash": report.trace_hash,
        "sometimes": report.sometimes,
        "hosts": hosts(moments),
        "moments": [(one.at, one.kind, one.node, one.peer, one.number, one.text) for one in moments],
        "messages": messages(moments),
        "bands": bands(moments),
    }
    text = json.dumps(data, separators=(",", ":"))  # ASCII alone, also for lone surrogates and odd line ends
    return text.translate({ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"})


def _source(page: str, element: str) -> str:
    """Return the one source that a policy is to allow: the page's own element, by its hash."""
    _, _, rest = page.partition(f"<{element}>")
    inside, _, _ = rest.partition(f"</{element}>")
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
