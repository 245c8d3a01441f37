"""What is served over HTTP: the log page of a zone in a browser or by curl, and a node's health to probes.

`serve_logs` is the way in. Nothing here knows how a zone is deployed: `ZoneLogs` says what there is and in which files
it writes. `conversation` speaks HTTP with one client, `health` answers probes; of the page, `server` listens, `site`
decides who gets what, `feed` follows the files for a page, `tail` one file, `lines` cuts it into lines; `page.html` is
what a browser shows.
"""

from .server import serve_logs
from .source import PodView, ZoneLogs

__all__ = ["PodView", "ZoneLogs", "serve_logs"]
