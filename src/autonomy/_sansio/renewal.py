"""What a node asks its zone's authority as long as it lives, and when: a new certificate, and news of CAs and CRLs.

Who asks is proven by its link, and never said here; texts are JSON, certificates PEM. The rules are of time alone:
`renewal_due`, `pause_before_retry`. `_zone/renewal.py` asks, `_authority/worker.py` answers.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

WORKER: Final = "_authority"
LONG: Final = 60.0
"""Seconds that a question for news may wait for some; then it is asked again."""
_TWO_THIRDS: Final = 2 / 3
_JITTER: Final = 0.1
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 300.0
_PART_OF_REST: Final = 0.1

_Stamp = Annotated[str, msgspec.Meta(max_length=64)]
_Pem = Annotated[str, msgspec.Meta(max_length=8 * 1024)]


class Renew(msgspec.Struct, frozen=True, tag="renew", forbid_unknown_fields=True):
    """A new certificate, please.

    Attributes:
        request: A certificate request; its key is taken, and nothing else.
    """

    request: _Pem


class Look(msgspec.Struct, frozen=True, omit_defaults=True, tag="look", forbid_unknown_fields=True):
    """What is new? Answered when something is.

    Attributes:
        stamp: Of the news that the node has adopted; empty at first.
        serial: Serial number of the certificate that it shows, in hex.
    """

    stamp: _Stamp = ""
    serial: _Stamp = ""


class Renewed(msgspec.Struct, frozen=True, tag="renewed"):
    """A certificate, and what is trusted now."""

    certificate: str
    ca: str
    crl: str


class News(msgspec.Struct, frozen=True, tag="news"):
    """What is trusted now.

    Attributes:
        stamp: Tells it from earlier news.
        ca: The zone's CA certificates, PEM.
        crl: Their lists of revoked certificates, PEM.
        issuer: Key id of the CA that issues now. Whose certificate is another one's renews it soon.
    """

    stamp: str
    ca: str
    crl: str
    issuer: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It was not done.

    Attributes:
        why: In a sentence.
    """

    why: str


asked: Final = msgspec.json.Decoder(Renew | Look)
answered: Final = msgspec.json.Decoder(Renewed | News | Refused)


def text_of(message: msgspec.Struct) -> str:
    """Return a question or an answer as it travels."""
    return msgspec.json.encode(message).decode()


def renewal_due(issued: float, ends: float, chance: float) -> float:
    """Return when to renew a certificate: at two thirds of its life, a tenth of it sooner or later.

    Args:
        issued: When its life began, in seconds.
        ends: When it ends.
        chance: 0 to 1; nodes that were started together should not all come at once.
    """
    life = ends - issued
    return issued + life * _TWO_THIRDS * (1 + _JITTER * (2 * chance - 1))


def pause_before_retry(failures: int, left: float) -> float:
    """Return how long to wait after a renewal that failed: longer each time, and never long of what is left.

    Args:
        failures: How many there were in a row.
        left: Seconds until the certificate ends; negative if it has.
    """
    pause = min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 32), _LONGEST_PAUSE)
    return min(pause, max(left * _PART_OF_REST, _FIRST_PAUSE))
