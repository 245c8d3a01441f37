"""Who may reach a worker from other nodes.

Within a node everybody may; the rule is checked here when a worker is started, and asked when a message comes off a
link.
"""

from __future__ import annotations

from ..abc import Allow


def check_allow(allow: Allow) -> Allow:
    """Return `allow` if it is None, a pattern such as ``"local"`` or ``"main*"``, a list of patterns, or a callable.

    Raises:
        TypeError: It is none of these.
    """
    if allow is None or isinstance(allow, str) or callable(allow):
        return allow
    if isinstance(allow, (list, tuple)) and all(isinstance(pattern, str) for pattern in allow):
        return allow
    raise TypeError(
        'allow must be None, "local", a pattern or a list of patterns of short node names, or a callable, '
        f"got {allow!r:.80}"
    )
