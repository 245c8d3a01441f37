"""``python -m autonomy``, the same as the command ``autonomy``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; without what it needs, say what that is."""
    try:
        from ._cli.command import main as command  # noqa: PLC0415  # an optional client
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich", "yaml", "h11"):
            raise
        sys.exit(f"the command autonomy needs {error.name}: pip install 'autonomy-actors[cli]'")
    command(prog_name="autonomy")


if __name__ == "__main__":
    main()
