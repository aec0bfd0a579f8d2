"""Is it the retrieval? A finished run's drawing again, with exactly one thing changed.

    another reference    at most as many as the run used, each of the same kind but of another species
    words alone          the critic's rewriting of the prompt, no reference
    another seed         the generator alone, with other seeds

Each names exactly the references that it is drawn with, so nothing is searched and nothing refilled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from ragdemo.events import Counterfactual, Event, Reference
from ragdemo.library.store import Library, Row
from ragdemo.methods import get_method
from ragdemo.methods.base import Tools
from ragdemo.methods.evidence import used_references
from ragdemo.methods.interview import Interviewer
from ragdemo.methods.running import draw
from ragdemo.models.base import CRITIC
from ragdemo.request import MAX_SEED, Request

OTHER_SEEDS = 4


@dataclass(frozen=True)
class Change:
    """One counterfactual before it is drawn; `references` are library ids in the order of the run's own."""

    name: str
    title: str
    text: str
    seed: int
    references: tuple[str, ...] = ()


def changes(
    request: Request, events: Sequence[Event], library: Library, split: str | None
) -> Iterator[Change]:
    """What can be changed about a run that found references; nothing for a run that used none."""
    used = used_references(events)
    if not used:
        return
    seed = request.seed
    turned_down = request.choices.rejected
    others = same_kind_references(library, used, split, seed, lambda row: row.id not in turned_down)
    if others:
        yield Change("another reference", "Another reference", "of the same kind", seed, others)
    yield Change("words alone", "In words alone", "the critic's rewriting, no picture", seed)
    for turn in range(1, OTHER_SEEDS + 1):
        turned = (seed + turn) % (MAX_SEED + 1)
        yield Change("another seed", f"Seed {turned}", "the generator alone", turned)


def draw_changes(request: Request, events: Sequence[Event], tools: Tools) -> Generator[Event, None, None]:
    """Progress, and a `Counterfactual` for each change that can be drawn."""
    library, method = tools.library, get_method(request.method)
    assert isinstance(library, Library)
    for change in changes(request, events, library, tools.split):
        start = time.perf_counter()
        asked = request.changed(seed=change.seed)
        if change.name == "words alone":
            if not tools.models.has(CRITIC):
                continue
            rephrased = Interviewer(tools.models.get(CRITIC), request.seed, 1).rephrase(request.prompt)
            if rephrased.prompt == request.prompt:
                continue  # nothing was rewritten: the drawing would answer nothing
            asked = request.changed(prompt=rephrased.prompt)
        references = tuple(
            Reference(id_, library.caption(id_), 0.0, "", library.image(id_)) for id_ in change.references
        )
        drawing = method.drawing(asked, tools, references, events)
        image = yield from draw(tools.models.get(method.generator), drawing, "counterfactual")
        seconds = time.perf_counter() - start
        yield Counterfactual(
            change.name, change.title, change.text, drawing.prompt, change.seed, references, image, seconds
        )


def same_kind_references(
    library: Library,
    used: Sequence[str],
    split: str | None,
    seed: int,
    allowed: Callable[[Row], bool] = lambda row: True,
) -> tuple[str, ...]:
    """For each used id another image of the same kind that shows none of the species used, each image once.

    Without kinds or species in the metadata any image with another caption counts. Only images for which `allowed`
    holds are taken: not those that a person rejected, and for figures only those in another scene. The person's own
    images, which the library does not know, and images that have no such counterpart get none.
    """
    rows = [library.row(image_id) for image_id in used if image_id in library]
    species = {_species(row) for row in rows}
    chosen: list[str] = []
    for row in rows:
        candidates = [
            other.id
            for other in library.rows_of(split)
            if _species(other) not in species
            and other.extra.get("kind") == row.extra.get("kind")
            and other.id not in chosen
            and allowed(other)
        ]
        if candidates:
            chosen.append(Random(f"{row.id}/{seed}").choice(candidates))
    return tuple(chosen)


def _species(row: Row) -> str:
    return str(row.extra.get("species", row.caption))
