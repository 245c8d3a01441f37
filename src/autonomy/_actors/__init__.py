"""Actors within one process: Trio, and no network.

An envelope finds a mailbox here; a link would find a wire (`_links`), and the two know nothing of each other. Read in
this
order: `queue`, `replies`, `process`, `supervisor`, `router`, `system`.
"""
