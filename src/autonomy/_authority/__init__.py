"""A zone's authority as a node of the zone: it takes machines in, renews certificates, and tells who was revoked.

The folder of the `ZoneAuthority` stays the state: commands work on it while the node runs, and the node sees it within
a tenth of a second.

Read on in `running.py`.
"""

from __future__ import annotations

from .running import AuthorityTerms, run_authority

__all__ = ["AuthorityTerms", "run_authority"]
