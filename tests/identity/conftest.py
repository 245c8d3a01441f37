"""A zone ``z.test``, its CA in honest and in other hands, a clock to turn, and what the logger ``security`` says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from autonomy.identity import TrustStore, ZoneAuthority

from .forge import ZONE, Clock, Forger, signers_in


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(tmp_path: Path, clock: Clock) -> ZoneAuthority:
    return ZoneAuthority.create(tmp_path / "zone", ZONE, clock=clock)


@pytest.fixture
def forger(authority: ZoneAuthority, tmp_path: Path, clock: Clock) -> Forger:
    """Whoever has stolen the zone's CA."""
    return Forger(signers_in(tmp_path / "zone")[0], clock)


@pytest.fixture
def trust(authority: ZoneAuthority, clock: Clock) -> TrustStore:
    return TrustStore(ZONE, ca=authority.ca, crl=authority.crl, clock=clock)


class SecurityLog(logging.Handler):
    """Keeps the lines of the logger ``security`` as they are told."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")

    def about(self, event: str) -> list[str]:
        return [line for line in self.lines if f" {event} " in f"{line} "]


@pytest.fixture
def security_log() -> Iterator[SecurityLog]:
    logger, log = logging.getLogger("autonomy.security"), SecurityLog()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    yield log
    logger.removeHandler(log)
    logger.setLevel(level)
