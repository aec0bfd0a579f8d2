"""Keys: short hashes of what a state or a cache depends on, so that nothing made under other settings is reused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from types import ModuleType
from typing import Any

from torch import nn


def key_of(inputs: Mapping[str, object]) -> str:
    """Eight hex digits that change with any input: JSON values, dataclasses, and modules by their weights."""
    return hashlib.sha256(_encode(inputs).encode()).hexdigest()[:8]


def weights_fingerprint(module: nn.Module) -> str:
    """Twelve hex digits that change with any weight."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def constants(module: ModuleType) -> dict[str, str]:
    """The upper-case names of a module whose values can be hashed: its settings."""
    found = {}
    for name, value in vars(module).items():
        if name.isupper():
            try:
                found[name] = _encode(value)
            except TypeError:  # tables of functions and the like: the world's, which has a version of its own
                continue
    return found


def _encode(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: Any) -> object:
    if isinstance(value, nn.Module):
        return weights_fingerprint(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no key")
