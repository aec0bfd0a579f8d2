"""Write the checksums of every shipped checkpoint's files into its cards; run it after an export.

The models' process compares them when it loads a checkpoint (`ragdemo.weights.check_files`).
"""

from __future__ import annotations

import json

from ragdemo.files import write_atomically
from ragdemo.profiles import ASSETS
from ragdemo.weights import CARD, checksums


def main() -> None:
    """Every card below the pocket profile's folder."""
    for card in sorted((ASSETS / "pocket").rglob(CARD)):
        facts = json.loads(card.read_text(encoding="utf-8")) | {"files": checksums(card.parent)}
        write_atomically(card, (json.dumps(facts, indent=2) + "\n").encode())
        print(f"{card.parent.relative_to(ASSETS)}: {len(facts['files'])} files")


if __name__ == "__main__":
    main()
