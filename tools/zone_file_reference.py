"""Write the tables in docs/reference/zone-file.md, which are made from the keys that the readers know.

`python tools/zone_file_reference.py` changes the page if it must; a test looks whether it is up to date.
"""

from collections.abc import Mapping
from pathlib import Path

from autonomy._deploy.zone_keys import CONTAINER_KEYS, INSTRUCTIONS, POD_KEYS, ZONE_KEYS

PAGE = Path("docs/reference/zone-file.md")
END = "<!-- end of what is made -->\n"


def keys() -> str:
    """Return the table of all keys of a zone file."""
    lines = ["| where | key | value |", "|---|---|---|"]
    tables: Mapping[str, Mapping[str, str]] = {"zone": ZONE_KEYS, "pod": POD_KEYS, "container": CONTAINER_KEYS}
    for where, table in tables.items():
        for number, (key, meaning) in enumerate(table.items()):
            lines.append(f"| {'' if number else where} | `{key}` | {meaning} |")
    return "\n".join([*lines, ""])


def instructions() -> str:
    """Return the table of what is read of a Dockerfile."""
    rows = [f"| `{word}` | {meaning} |" for word, meaning in INSTRUCTIONS.items()]
    return "\n".join(["| instruction | what becomes of it |", "|---|---|", *rows, ""])


def updated(page: str) -> str:
    """Return the page with what is made as it is now."""
    for name, table in (("keys", keys()), ("instructions", instructions())):
        begin = f"<!-- made by tools/zone_file_reference.py: {name} -->\n"
        before, found, rest = page.partition(begin)
        if not found:
            raise SystemExit(f"{PAGE} has no line {begin!r}")
        page = f"{before}{begin}\n{table}{END}{rest.partition(END)[2]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
