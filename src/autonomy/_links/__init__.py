"""Bytes between nodes: the links, and the far nodes at their other ends.

It knows nothing of workers and mailboxes: an envelope that leaves is handed to it, one that arrives it hands on. Read
`websocket` for what a link is, `frame_rules` and `door` for what far sides may do, and `_sansio/session.py` for what
outlives a link.
"""
