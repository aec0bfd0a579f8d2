"""What a visitor looks for in a library, and what its pictures say of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from ragdemo.library.catalogue import group_of

if TYPE_CHECKING:
    from ragdemo.library.store import Library, Row

ALL_KINDS, ALL_TIERS = "all kinds", "all names"
TIERS = {"common": "common", "rare": "rare", "novel": "new"}
"""Values of the column `tier`, and what the page calls them."""
_ORIGINS = ("author", "creator", "artist", "credit", "attribution", "source", "url")
_LICENCES = ("license", "licence", "rights")


@dataclass(frozen=True)
class Sought:
    """Words, and filters that hold for what is browsed as for what they find."""

    words: str = ""
    kind: str = ALL_KINDS
    tier: str = ALL_TIERS
    one_of_each: bool = False
    by_looks: bool = False

    @property
    def where(self) -> dict[str, str]:
        """What the columns of a row must hold."""
        chosen = {"kind": self.kind, "tier": self.tier}
        return {key: value for key, value in chosen.items() if value and value not in (ALL_KINDS, ALL_TIERS)}

    @property
    def title(self) -> str:
        """The filters in words."""
        return " · ".join([self.kind or ALL_KINDS, *([TIERS[self.tier]] if self.tier in TIERS else [])])


def filters_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The kinds and the tiers of some rows as dropdowns hold them, which are hidden if there is nothing to choose."""
    kinds = sorted({str(row.extra["kind"]) for row in rows if "kind" in row.extra})
    tiers = [tier for tier in TIERS if any(row.extra.get("tier") == tier for row in rows)]
    named = [(TIERS[tier], tier) for tier in tiers]
    return [
        {"choices": [ALL_KINDS, *kinds], "value": ALL_KINDS, "visible": bool(kinds)},
        {"choices": [(ALL_TIERS, ALL_TIERS), *named], "value": ALL_TIERS, "visible": len(tiers) > 1},
    ]


def card_of(library: Library, image_id: str, image: Image.Image, size: int = 1) -> dict[str, Any]:
    """A picture as its card shows it; `size` is that of the group for which it stands."""
    row = library.row(image_id)
    return {
        "id": image_id,
        "caption": row.caption,
        "image": image,
        "credit": credit_of(row.extra),
        "group": group_of(row),
        "size": size,
        "is_searched": library.searched_split in (None, row.split),
    }


def credit_of(extra: Mapping[str, Any]) -> str:
    """Who made a picture or where it is from, and its licence, as far as its metadata have them."""
    said = {key.lower(): value for key, value in extra.items() if isinstance(value, str) and value.strip()}
    origin = next((said[key] for key in _ORIGINS if key in said), "")
    licence = next((said[key] for key in _LICENCES if key in said), "")
    return " · ".join(part.split(". ")[0][:80] for part in (origin, licence) if part)
