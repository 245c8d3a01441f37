"""The log page of a zone: its pods and containers, and what they write, in a browser or by curl.

`serve_logs` is the way in. Nothing here knows how a zone is deployed: `ZoneLogs` says what there is and in which files
it writes. `server` listens, `conversation` speaks HTTP with one client, `site` decides who gets what, `feed` follows
the files for a page, `tail` one file, `lines` cuts it into lines; `page.html` is what a browser shows.
"""

from .server import serve_logs
from .source import PodView, ZoneLogs

__all__ = ["PodView", "ZoneLogs", "serve_logs"]
