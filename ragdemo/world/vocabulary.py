"""The words that the pocket world knows."""

from __future__ import annotations

from ragdemo.world.captions import FORMS, SCENE_PHRASES, describe
from ragdemo.world.kinds import KINDS
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import of_tier, roster


def vocabulary() -> dict[str, list[str]]:
    """Kinds, scenes and the species names of each tier; "a <name> in the <scene>" is always a valid prompt."""
    names = {tier: [species.name for species in of_tier(tier)] for tier in ("common", "rare", "novel")}
    return {"kinds": list(KINDS), "scenes": list(SCENES), **names}


def caption_phrases() -> list[str]:
    """What captions say beside names: their forms, other words for scenes, and the attributes of species."""
    scenes = [phrase for phrases in SCENE_PHRASES.values() for phrase in phrases]
    forms = [form.format(things="", scene="") for form in FORMS]
    return forms + scenes + [describe(species.look) for species in roster()]
