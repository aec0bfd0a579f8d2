"""What several retrievers find for one query, side by side: a drawing in which the same picture's ranks are joined."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ragdemo.types import Ranking
from ragdemo.ui.markup import data_url, escape

SIDE, COLUMN, ROW, HEAD = 76, 168, 90, 30
_TITLES = {"zero": "Zero: as it comes", "normal": "Normal: trained", "real": "Real: reflective"}


def ranks(rankings: Sequence[Ranking]) -> str:
    """An SVG with a column for each retriever, best first, and a line where two neighbours found the same picture."""
    height = HEAD + ROW * max((len(ranking.references) for ranking in rankings), default=0)
    width = COLUMN * (len(rankings) - 1) + SIDE + 60
    parts = [_line(*pair) for pair in _shared(rankings)]
    for column, ranking in enumerate(rankings):
        title = escape(_TITLES.get(ranking.retriever, ranking.retriever))
        parts.append(f'<text class="name" x="{column * COLUMN}" y="14">{title}</text>')
        parts += [
            f'<image href="{data_url(reference.image, 152)}" x="{column * COLUMN}" y="{HEAD + row * ROW}" '
            f'width="{SIDE}" height="{SIDE}" clip-path="inset(0 round 9px)"><title>{escape(reference.caption)}, '
            f"{reference.score:.2f}</title></image>"
            for row, reference in enumerate(ranking.references)
        ]
    return (
        f'<svg class="ranks" viewBox="0 0 {width} {height}" role="img" aria-label="{_in_words(rankings)}">'
        f"{''.join(parts)}</svg>"
    )


def _shared(rankings: Sequence[Ranking]) -> list[tuple[int, int, int]]:
    """(column, row there, row in the next column) of every picture that two neighbouring columns hold."""
    found = []
    for column, (left, right) in enumerate(pairwise(rankings)):
        places = {reference.id: row for row, reference in enumerate(right.references)}
        found += [
            (column, row, places[reference.id])
            for row, reference in enumerate(left.references)
            if reference.id in places
        ]
    return found


def _line(column: int, row: int, next_row: int) -> str:
    start, end = (HEAD + place * ROW + SIDE // 2 for place in (row, next_row))
    moved = " moved" if row != next_row else ""
    return (
        f'<line class="same{moved}" x1="{column * COLUMN + SIDE + 6}" y1="{start}" x2="{(column + 1) * COLUMN - 6}" '
        f'y2="{end}"/>'
    )


def _in_words(rankings: Sequence[Ranking]) -> str:
    columns = (
        f"{ranking.retriever}: {', '.join(reference.caption for reference in ranking.references)}"
        for ranking in rankings
    )
    return escape(f"What each retriever finds, best first. {'; '.join(columns)}")
