"""Write the front matter of README.md from space.yaml, or with --check only compare the two.

    python scripts/space_front_matter.py [--check] [--root FOLDER]

Exit code 0 where they agree (or have been made to), 2 with one sentence where a field is wrong or they differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FENCE = "---\n"
FIELDS = frozenset(
    "title emoji colorFrom colorTo sdk sdk_version python_version app_file suggested_hardware short_description models "
    "datasets tags license pinned fullWidth header thumbnail hf_oauth disable_embedding startup_duration_timeout "
    "preload_from_hub custom_headers".split()
)
REQUIRED = ("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "license")
MAX_DESCRIPTION_CHARACTERS = 60
MAX_PRELOADED = 10


def read_space(path: Path) -> dict[str, Any]:
    """The checked fields of a space.yaml; raises `ValueError` naming the field that is wrong."""
    fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(fields, dict):
        raise ValueError(f"{path} holds no fields; list them as `key: value`.")
    check_fields(fields)
    return fields


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise `ValueError` where a field is unknown, missing, or longer than Spaces take it."""
    unknown = sorted(set(fields) - FIELDS)
    if unknown:
        raise ValueError(f"space.yaml has the unknown fields {unknown}; Spaces read only {sorted(FIELDS)}.")
    missing = [name for name in REQUIRED if not fields.get(name)]
    if missing:
        raise ValueError(f"space.yaml lacks {missing}; add them.")
    description = fields.get("short_description", "")
    if len(description) > MAX_DESCRIPTION_CHARACTERS:
        raise ValueError(
            f"short_description has {len(description)} characters; shorten it to {MAX_DESCRIPTION_CHARACTERS}."
        )
    if len(fields.get("preload_from_hub", ())) > MAX_PRELOADED:
        raise ValueError(f"preload_from_hub names more than {MAX_PRELOADED} files; shorten the list.")


def front_matter(fields: Mapping[str, Any]) -> str:
    """The block between two `---` lines that opens a Space's README."""
    body = yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=1000)
    return FENCE + body + FENCE


def without_front_matter(readme: str) -> str:
    """The text of a README after its front matter, the whole where it has none."""
    if not readme.startswith(FENCE):
        return readme
    _, closing, text = readme[len(FENCE) :].partition("\n" + FENCE)
    return text if closing else readme


def main(arguments: list[str] | None = None) -> int:
    """Check or write; returns the exit code."""
    parser = argparse.ArgumentParser(description="Keep the front matter of README.md equal to space.yaml.")
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    options = parser.parse_args(arguments)
    readme_path = options.root / "README.md"
    try:
        block = front_matter(read_space(options.root / "space.yaml"))
        readme = readme_path.read_text(encoding="utf-8")
    except (OSError, ValueError, yaml.YAMLError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.check and not readme.startswith(block):
        print(f"{readme_path} differs from space.yaml; run scripts/space_front_matter.py.", file=sys.stderr)
        return 2
    if not options.check:
        readme_path.write_text(block + without_front_matter(readme), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
