"""For all bytes: `TrustStore.verify` returns a true identity or raises IdentityError, and nothing else."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autonomy.errors import IdentityError
from autonomy.identity import TrustStore

from .forge import Forger, der

HOSTILE = settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Ten thousand refusals are ten thousand lines."""
    logger = logging.getLogger("autonomy.security")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


def must_be_refused(trust: TrustStore, shown: bytes) -> None:
    with pytest.raises(IdentityError):
        trust.verify(shown)


@pytest.mark.slow
@HOSTILE
@given(st.binary(max_size=600))
def test_any_bytes_are_refused(trust: TrustStore, shown: bytes) -> None:
    must_be_refused(trust, shown)


@pytest.fixture
def good(forger: Forger) -> bytes:
    return der(forger.leaf())


@pytest.mark.slow
@HOSTILE
@given(st.integers(0, 2000), st.integers(0, 40), st.binary(max_size=40))
def test_a_certificate_with_any_part_exchanged_is_refused(
    trust: TrustStore, good: bytes, begin: int, length: int, part: bytes
) -> None:
    changed = good[:begin] + part + good[begin + length :]
    if changed != good:
        must_be_refused(trust, changed)


@pytest.mark.slow
def test_a_certificate_with_any_one_bit_or_byte_changed_is_refused(trust: TrustStore, good: bytes) -> None:
    """Ten thousand of them: each bit once, then bytes by chance."""
    chance = random.Random(1)
    changes = [(bit // 8, 1 << bit % 8) for bit in range(8 * len(good))]
    changes += [(chance.randrange(len(good)), chance.randrange(1, 256)) for _ in range(10_000 - len(changes))]

    for at, mask in changes:
        must_be_refused(trust, good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :])

    assert len(changes) >= 10_000
    assert trust.verify(good).name == "b"
