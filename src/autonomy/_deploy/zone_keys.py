"""The keys of a zone file and the instructions of a Dockerfile, and what each may be.

The rule of this file: what is read is in here, and nothing else. The readers take their keys from these tables, and
``tools/zone_file_reference.py`` makes the reference of them. Where a name is checked, the words are those of the check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .._sansio.spec import MAX_CLONES, container_name_problem, pod_name_problem, zone_name_problem


def _right(problem_of: Callable[[str], str | None]) -> str:
    """Return what a check says that would be right."""
    return (problem_of("") or "").partition("write ")[2]


ZONE_KEYS: Final = {
    "name": _right(zone_name_problem),
    "pods": "a list of pods, at least one",
}
POD_KEYS: Final = {
    "name": f"{_right(pod_name_problem)}; unique in the zone",
    "size": "`small` (if it is not given) or `big`: of the machine, where pods have machines of their own",
    "public": "`true` or `false` (if it is not given): whether people outside of the zone may reach it",
    "clones": f"how many there are of this pod, 1 to {MAX_CLONES}; without it there is one, without a number",
    "containers": "a list of containers, at least one",
}
CONTAINER_KEYS: Final = {
    "name": _right(container_name_problem),
    "image": "the name of a folder below `images`: 1 to 128 of `A-Z a-z 0-9 . _ -`, a letter or digit first and last",
    "env": "environment variables: a list of mappings with one key each, or one mapping; a value is a text, or "
    "`{secret: NAME, key: KEY}`",
}
INSTRUCTIONS: Final = {
    "FROM": "must come first; what it names is ignored: the program runs with what is installed beside autonomy",
    "COPY": "files and folders of the image, without patterns, variables and options",
    "ENV": "`NAME=value`, with quotes if need be, or `NAME value`; no variables within",
    "WORKDIR": "the folder that the program runs in",
    "ENTRYPOINT": 'the program, in exec form: `["python", "main.py"]`',
    "CMD": "the same, or, after an `ENTRYPOINT`, the arguments that come after those of that one",
}
