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

from ragdemo.events import Counterfactual, Event, Reference, References, Result, RetrievalCaptions
from ragdemo.library.store import Library, Row
from ragdemo.methods.base import Tools
from ragdemo.methods.evidence import prompt_beside_references
from ragdemo.methods.imagerag.interview import Interviewer
from ragdemo.methods.running import draw
from ragdemo.models.base import CRITIC, GENERATOR, Drawing, ImageReferences, NoReference, Sampling
from ragdemo.request import MAX_SEED, Request

OTHER_SEEDS = 2


@dataclass(frozen=True)
class Change:
    """One counterfactual before it is drawn; `references` are library ids in the order of the run's own."""

    name: str
    title: str
    text: str
    prompt: str
    seed: int
    references: tuple[str, ...] = ()


def changes(
    request: Request, events: Sequence[Event], library: Library, split: str | None
) -> Iterator[Change]:
    """What can be changed about a run that found references; nothing for a run that used none."""
    used = _used(events)
    if not used:
        return
    prompt, seed = request.prompt, request.seed
    turned_down = request.choices.rejected
    others = same_kind_references(library, used, split, seed, lambda row: row.id not in turned_down)
    if others:
        yield Change("another reference", "Another reference", "of the same kind", prompt, seed, others)
    yield Change("words alone", "In words alone", "the critic's rewriting, no picture", prompt, seed)
    for turn in range(1, OTHER_SEEDS + 1):
        turned = (seed + turn) % (MAX_SEED + 1)
        yield Change("another seed", f"Seed {turned}", "the generator alone", prompt, turned)


def draw_changes(request: Request, events: Sequence[Event], tools: Tools) -> Generator[Event, None, None]:
    """Progress, and a `Counterfactual` for each change that can be drawn."""
    library = tools.library
    assert isinstance(library, Library)
    for change in changes(request, events, library, tools.split):
        start = time.perf_counter()
        prompt = change.prompt
        if change.name == "words alone":
            if not tools.models.has(CRITIC):
                continue
            prompt = Interviewer(tools.models.get(CRITIC), request.seed, 1).rephrase(prompt).prompt
            if prompt == change.prompt:
                continue  # nothing was rewritten: the drawing would answer nothing
        references = tuple(
            Reference(id_, library.caption(id_), 0.0, "", library.image(id_)) for id_ in change.references
        )
        condition = _condition(request, references)
        captions = _captions(events)
        if references and captions:
            prompt = prompt_beside_references(tools, prompt, captions)
        sampling = Sampling(request.settings.get("steps"), request.settings.get("guidance_scale"))  # type: ignore[arg-type]
        drawing = Drawing(prompt, change.seed, sampling, condition)
        image = yield from draw(tools.models.get(GENERATOR), drawing, "counterfactual")
        seconds = time.perf_counter() - start
        yield Counterfactual(
            change.name, change.title, change.text, prompt, change.seed, references, image, seconds
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


def _used(events: Sequence[Event]) -> tuple[str, ...]:
    """The references of the run's result, or of its last retrieval if it was stopped before its result."""
    for event in reversed(events):
        if isinstance(event, Result):
            return event.recipe.references
        if isinstance(event, References):
            return _ids(event)
    return ()


def _captions(events: Sequence[Event]) -> tuple[str, ...]:
    """The captions that the run's own drawing was prompted with, one per reference; none if its method writes none."""
    used, said, captions = _used(events), dict[str, str](), tuple[str, ...]()
    for event in events:
        if isinstance(event, RetrievalCaptions):
            said |= dict(zip(event.concepts, event.captions, strict=True))
        elif isinstance(event, References) and said and _ids(event) == used:
            captions = tuple(said.get(one.concept, one.caption) for one in event.used)
    return captions


def _ids(references: References) -> tuple[str, ...]:
    return tuple(reference.id for reference in references.used)


def _condition(request: Request, references: tuple[Reference, ...]) -> ImageReferences | NoReference:
    if not references:
        return NoReference()
    scale = request.settings.get("reference_scale")
    return ImageReferences(tuple(reference.image for reference in references), scale)  # type: ignore[arg-type]
