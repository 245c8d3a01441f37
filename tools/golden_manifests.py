"""Write the manifests in tests/deploy/golden anew: `python tools/golden_manifests.py`, from the root of the repository.

A test compares them with what is made now. Read the difference (`git diff`) before you commit it: it is what operators
will see.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.deploy.manifest_zone import golden_files  # the path comes first


def main() -> None:
    """Write every file that differs."""
    for path, text in golden_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: {path}")


if __name__ == "__main__":
    main()
