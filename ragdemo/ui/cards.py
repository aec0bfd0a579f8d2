"""Reference images as cards: in a run's evidence and in the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragdemo.types import Reference
from ragdemo.ui.markup import escape, picture

if TYPE_CHECKING:
    from ragdemo.backend.base import LibraryItem

_THUMBNAIL_SIDE = 256


def evidence_cards(
    used: Sequence[Reference], others: Sequence[Reference], pinned: Sequence[str] | None = None
) -> str:
    """The references that go into the picture, then the next candidates, each with its score and concept.

    Where `pinned` is given, each card has buttons; a click reaches the page as `data-act` and `data-id`.
    """
    cards = []
    for reference in used:
        note, buttons = "✓ used", ""
        if pinned is not None:
            is_pinned = reference.id in pinned
            note = "✓ pinned" if is_pinned else note
            buttons = _button("unpin" if is_pinned else "pin", reference) + _button("reject", reference)
        cards.append(_scored(reference, note, "used", buttons=buttons))
    for reference in others:
        buttons = "" if pinned is None else _button("use", reference) + _button("reject", reference)
        cards.append(_scored(reference, "not used", "other", buttons=buttons))
    return _list(cards)


def search_cards(found: Sequence[Reference]) -> str:
    """Library pictures found by a search, best first."""
    return _list([_scored(reference, "", "found", concept=False) for reference in found])


def library_cards(items: Sequence[LibraryItem]) -> str:
    """Library pictures as they come, without scores."""
    return _list([_card(item, "", "plain") for item in items])


def skeleton_cards(count: int = 4) -> str:
    """Empty cards where references are still looked for."""
    return _list(['<li class="card ghost"><div class="void"></div></li>'] * count, hidden=True)


def _button(act: str, reference: Reference) -> str:
    label = {"use": "Use", "reject": "Reject", "pin": "Pin", "unpin": "Unpin"}[act]
    return (
        f'<button type="button" data-act="{act}" data-id="{escape(reference.id)}" '
        f'aria-label="{label}: {escape(reference.caption)}">{label}</button>'
    )


def _scored(reference: Reference, note: str, look: str, concept: bool = True, buttons: str = "") -> str:
    width = max(0.0, min(1.0, reference.score)) * 100
    lines = [
        f'<p class="score"><span class="bar" aria-hidden="true"><i style="width:{width:.0f}%"></i></span>'
        f'<b title="cosine of caption and image">{reference.score:.2f}</b></p>'
    ]
    if reference.keyword_score is not None:
        lines.append(f'<p class="keyword">keywords {reference.keyword_score:.1f}</p>')
    if concept:
        lines.append(f'<p class="answers">for <em dir="auto">{escape(reference.concept)}</em></p>')
    if note:
        lines.append(f'<p class="note">{note}</p>')
    if buttons:
        lines.append(f'<p class="acts">{buttons}</p>')
    return _card(reference, "".join(lines), look)


def _card(item: LibraryItem | Reference, details: str, look: str) -> str:
    return (
        f'<li class="card {look}">{picture(item.image, item.caption, _THUMBNAIL_SIDE)}'
        f'<p class="caption" dir="auto" title="{escape(item.id)}">{escape(item.caption)}</p>{details}</li>'
    )


def _list(cards: Sequence[str], hidden: bool = False) -> str:
    attribute = ' aria-hidden="true"' if hidden else ""
    return f'<ul class="cards"{attribute}>{"".join(cards)}</ul>'
