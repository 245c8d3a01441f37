"""What the scripts of a session ask for."""

from __future__ import annotations

import pytest

from autonomy._sansio.session import Session


@pytest.fixture
def session() -> type[Session]:
    """The class that they try. `test_session_mutants` gives them broken ones."""
    return Session
