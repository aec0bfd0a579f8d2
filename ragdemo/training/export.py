"""Writing checkpoints: each folder gets a card that says what it was trained on and how well it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD = "card.json"


def write_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `card.json` into a checkpoint folder."""
    (folder / CARD).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a checkpoint folder."""
    return json.loads((folder / CARD).read_text(encoding="utf-8"))


def shipped_card(folder: Path) -> dict[str, Any] | None:
    """The card of weights that training may start from; None if there are none."""
    return read_card(folder) if (folder / CARD).exists() else None


def waiting_or_shipped(assets: Path, name: str) -> Path:
    """Where a warm start finds a checkpoint: the one that waits for its training to go on, else the shipped one."""
    waiting = assets.parent / "warm" / name
    return waiting if waiting.is_dir() else assets / name
