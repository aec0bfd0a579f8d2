"""Checkpoints by content: a short hash of the weights behind each role, computed without loading them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ragdemo.profiles import Profile, Spec
from ragdemo.weights import weights_hash


def weights_of(profile: Profile) -> dict[str, str]:
    """Role → hash of its weights, as recipes and results name it; a role without local weights is left out."""
    hashes = {role: fingerprint(spec) for role, spec in profile.roles.items()}
    return {role: found for role, found in hashes.items() if found}


def fingerprint(spec: Spec) -> str:
    """The hash of a spec's folders; a hub id or an endpoint is its own name with its revision."""
    places = [place for place in spec.folders if place]
    if not Path(places[0]).is_absolute():
        return f"{spec.weights}@{spec.revision}" if spec.revision else spec.weights
    found = [_hash(place) for place in places]
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()[:12]


@cache  # what this process has loaded does not change with the files
def _hash(folder: str) -> str:
    return weights_hash(Path(folder))
