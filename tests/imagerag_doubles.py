"""A scripted critic, a painter that shows what it was given, and a library of coloured squares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image

from ragdemo.errors import UserError
from ragdemo.library.search import Hit
from ragdemo.methods.base import RETRIEVERS, Searcher, Tools
from ragdemo.models.base import CRITIC, GENERATOR, Drawing, Drawn, ImageReferences, Role, Step
from ragdemo.profiles import POCKET

CAPTIONS = {
    "quixel-1": "a quixel butterfly",
    "quixel-2": "a quixel butterfly at night",
    "quixel-3": "a quixel butterfly by the sea",
    "zandor-1": "a zandor car",
    "zandor-2": "a zandor car in the city",
}


@dataclass
class ScriptedCritic:
    """Answers each question with the next line of its script; the last answer to a kind of question repeats."""

    match: list[str] = field(default_factory=lambda: ["no: an orange butterfly"])
    missing: list[str] = field(default_factory=lambda: ["quixel butterfly"])
    captions: list[str] = field(default_factory=lambda: ["a quixel butterfly"])
    needed: list[str] = field(default_factory=lambda: ["quixel butterfly"])
    rephrase: list[str] = field(default_factory=lambda: ["an orange butterfly in the snow"])
    asked: list[tuple[str, Image.Image | None, float, int]] = field(default_factory=list)

    def ask(
        self, question: str, image: Image.Image | None, *, temperature: float = 0.0, seed: int = 0
    ) -> str:
        self.asked.append((question, image, temperature, seed))
        starts = {
            "Does": "match",
            "What": "missing",
            "Write": "captions",
            "Which": "needed",
            "Rewrite": "rephrase",
        }
        script = getattr(self, starts[question.split()[0]])
        return script.pop(0) if len(script) > 1 else script[0]

    def questions(self, word: str) -> list[tuple[str, Image.Image | None, float, int]]:
        """What was asked in questions that start with `word`."""
        return [asked for asked in self.asked if asked[0].startswith(word)]


@dataclass
class Painter:
    """Draws a flat image whose colour depends on everything that it is given."""

    drawn: list[Drawing] = field(default_factory=list)
    closed: int = 0

    def draw(self, drawing: Drawing) -> Iterator[Step | Drawn]:
        self.drawn.append(drawing)
        try:
            yield Step(1, 2)
            yield Step(2, 2)
            colour = (len(self.drawn) * 20, len(references_of(drawing)) * 40, drawing.seed % 256)
            yield Drawn(Image.new("RGB", (8, 8), colour))
        finally:
            self.closed += 1


def references_of(drawing: Drawing) -> tuple[Image.Image, ...]:
    """The reference images of a drawing."""
    return drawing.condition.images if isinstance(drawing.condition, ImageReferences) else ()


class Squares:
    """A library and its searcher in one: an image scores by the share of the query's words in its caption."""

    splits: tuple[str, ...] = ()

    def rows_of(self, split: str | None = None) -> list[str]:
        return list(CAPTIONS)

    @property
    def fingerprint(self) -> str:
        return "squares-1"

    def caption(self, image_id: str) -> str:
        if image_id not in CAPTIONS:
            raise UserError(f"The library has no image {image_id!r}; choose one that it lists.")
        return CAPTIONS[image_id]

    def image(self, image_id: str) -> Image.Image:
        return Image.new("RGB", (4, 4), (list(CAPTIONS).index(image_id) * 50, 0, 0))

    def score(self, query: str, image_ids: Iterable[str]) -> list[float]:
        return [self._score(query, image_id) for image_id in image_ids]

    def similarity(self, query: str, images: Sequence[Image.Image]) -> list[float]:
        return [0.5 + image.width / 1000 for image in images]

    def search_text(
        self,
        query: str,
        k: int,
        split: str | None = None,
        exclude_ids: Iterable[str] = (),
        hybrid: bool | None = None,
    ) -> list[Hit]:
        allowed = [image_id for image_id in CAPTIONS if image_id not in set(exclude_ids)]
        ranked = sorted(allowed, key=lambda image_id: -self._score(query, image_id))
        return [Hit(image_id, CAPTIONS[image_id], self._score(query, image_id)) for image_id in ranked[:k]]

    def search_image(
        self, image: Image.Image, k: int, split: str | None = None, exclude_ids: Iterable[str] = ()
    ) -> list[Hit]:
        return [Hit(image_id, CAPTIONS[image_id], 0.9) for image_id in list(CAPTIONS)[:k]]

    def _score(self, query: str, image_id: str) -> float:
        asked, caption = set(query.split()), self.caption(image_id).split()
        return len(asked & set(caption)) / max(len(asked), len(caption))


@dataclass(frozen=True)
class Roles:
    """Models by the name of their role."""

    by_name: dict[str, object]

    def get(self, role: Role):
        return self.by_name[role.name]

    def has(self, role: Role) -> bool:
        return role.name in self.by_name


@dataclass(frozen=True)
class Trained:
    """Trained retrievers that are there already."""

    named: dict[str, Searcher]

    def searchers(self, frozen: Searcher) -> dict[str, Searcher]:
        return self.named


def tools(
    critic: ScriptedCritic | None = None,
    painter: Painter | None = None,
    pictures: dict[str, Image.Image] | None = None,
    retrievers: dict[str, Searcher] | None = None,
) -> Tools:
    """Tools of these doubles."""
    squares = Squares()
    roles = {GENERATOR.name: painter or Painter(), CRITIC.name: critic or ScriptedCritic()}
    if retrievers:
        roles[RETRIEVERS.name] = Trained(retrievers)
    return Tools(
        models=Roles(roles),
        open_searcher=lambda: squares,
        library=squares,
        profile=POCKET,
        versions={"ragdemo": "test"},
        pictures=pictures or {},
    )
