"""Documents as YAML: the same text each time, with keys in the order they were given, and nothing clever.

Texts that some reader could take for a number, a time or a statement are in quotes (YAML 1.1 takes ``no`` for false).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """Writes each value where it stands: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Say that nothing is written as a reference to what stood elsewhere."""
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002  # PyYAML's
        """Indent lists below their key, as people write them."""
        del indentless
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Plain.add_representer(str, _text)


def yaml_text(documents: Iterable[Any]) -> str:
    """Return documents as one text."""
    return "---\n".join(
        yaml.dump(each, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1000) for each in documents
    )
