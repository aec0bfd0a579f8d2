"""The words that the pocket world knows."""

from __future__ import annotations

from ragdemo.pocket.kinds import KINDS
from ragdemo.pocket.scenes import SCENES
from ragdemo.pocket.species import of_tier


def vocabulary() -> dict[str, list[str]]:
    """Kinds, scenes and the species names of each tier; "a <name> in the <scene>" is always a valid prompt."""
    names = {tier: [species.name for species in of_tier(tier)] for tier in ("common", "rare", "novel")}
    return {"kinds": list(KINDS), "scenes": list(SCENES), **names}
