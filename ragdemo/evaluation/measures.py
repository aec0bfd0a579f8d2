"""How each case is measured: one function from a case to a JSON-ready record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from PIL import Image

from ragdemo.counterfactuals import same_kind_references
from ragdemo.evaluation.judging import distances, judge
from ragdemo.evaluation.prompts import Case, split_of
from ragdemo.events import Draft, References, Result, Verdict
from ragdemo.library.store import Library
from ragdemo.methods import dialogue, get_method
from ragdemo.methods.ar_rag.condition import PatchSource
from ragdemo.methods.ar_rag.events import Provenance
from ragdemo.methods.ar_rag.flow import Run as Decoding
from ragdemo.methods.ar_rag.patches import RandomSearch
from ragdemo.methods.base import Tools
from ragdemo.methods.realrag.mining import class_prompt
from ragdemo.models.base import AUTOREGRESSIVE, CRITIC, GENERATOR, Drawing, Drawn, ImageReferences, Role
from ragdemo.request import Choices, Request
from ragdemo.world.critic_cases import CriticCase, missing_cases, unheard_cases, verdict_cases
from ragdemo.world.oracle import Oracle
from ragdemo.world.render import SIZE
from ragdemo.world.sampling import compose
from ragdemo.world.species import Species

CRITIC_STREAM = "bench/critic"
GREY = Image.new("RGB", (SIZE, SIZE), (128, 128, 128))


class Measures:
    """Measures one method; a record holds species, scene and seed of its case, so that records can be paired."""

    def __init__(self, method: str, tools: Tools, oracle: Oracle) -> None:
        self._name, self._tools, self._oracle = method, tools, oracle
        self._settings: Mapping[str, Any] = {}
        self._method = get_method(method)

    def of(self, method: str, settings: Mapping[str, Any]) -> Measures:
        """The same measures of another method, or of this one with other settings."""
        other = Measures(method, self._tools, self._oracle)
        other._settings = settings
        return other

    def run(self, case: Case) -> dict[str, Any]:
        """A run of the method: draft and result, judged by oracle and critic, and what the result copies."""
        record = record_of(case)
        request = Request(
            prompt=case.prompt, method=self._name, seed=case.seed, settings=dict(self._settings)
        )
        for event in self._method.run(request, self._tools):
            if isinstance(event, Draft):
                record["draft"] = judge(self._oracle, case, event.image)
            elif isinstance(event, Verdict) and event.of == "draft":
                record["draft"]["critic says yes"] = float(event.matches)
            elif isinstance(event, References):
                references = event.used
                record["references"] = [reference.id for reference in references]
            elif isinstance(event, Result):
                record["result"] = judge(self._oracle, case, event.image)
                result = event.image
        if "references" not in record:  # the critic accepted the draft
            record["result"]["critic says yes"] = record["draft"]["critic says yes"]
            return record | {"references": []}
        record["result"]["critic says yes"] = float(bool(self._approves(case.prompt, result)))
        if case.second is None and references:
            record["copying"] = self._copying(case, result, references[0].image)
            record["scenes apart"] = all(self._row(r.id)["scene"] != case.scene for r in references)
            record["retrieved species"] = float(self._row(references[0].id)["species"] == case.species.name)
        return record

    def plain(self, case: Case) -> dict[str, Any]:
        """A drawing of the prompt alone, with its oracle features."""
        return record_of(case) | self._judged(case, self._draw(Drawing(case.prompt, case.seed)))

    def decoded(
        self, changes: Mapping[str, Any], *, at_random: bool = False, true_sources: bool = False
    ) -> Callable[[Case], dict[str, Any]]:
        """A picture decoded with patches under changed settings of AR-RAG, with what it continues of its sources.

        `at_random` takes patches of the same pictures at random, the control; `true_sources` takes pictures of the
        species alone.
        """

        def measure(case: Case) -> dict[str, Any]:
            pinned = self._true_references(case) if true_sources else ()
            settings = {**changes, **({"references": len(pinned)} if pinned else {})}
            request = Request(
                prompt=case.prompt,
                method="ar_rag",
                seed=case.seed,
                settings=settings,
                choices=Choices(pinned=pinned),
            )
            run = Decoding(request, self._tools)
            condition = run.condition(run.sources()[1])
            if at_random:
                patches = condition.source.patches
                condition = replace(condition, source=PatchSource(patches, RandomSearch(patches, case.seed)))
            drawn = self._drawn(AUTOREGRESSIVE, Drawing(case.prompt, case.seed, condition=condition))
            continued = Provenance((), drawn.extras["trace"], condition.weight).continued
            return record_of(case) | self._judged(case, drawn.image) | {"continued": continued}

        return measure

    def truth(self, case: Case) -> dict[str, Any]:
        """The oracle features of a true picture."""
        return record_of(case) | self._judged(case, _truth(case))

    def retrieved(self, retriever: str) -> Callable[[Case], dict[str, Any]]:
        """A drawing with the first image that a retriever finds for the prompt, and whether that shows the species."""
        searcher = self._tools.retriever(retriever)

        def measure(case: Case) -> dict[str, Any]:
            hit = searcher.search_text(case.prompt, 1, self._tools.split)[0]
            image = self._draw(_beside(case, self._tools.library.image(hit.id)))
            right = float(self._row(hit.id)["species"] == case.species.name)
            return record_of(case) | {"recall@1": right} | self._judged(case, image)

        return measure

    def found(self, retriever: str) -> Callable[[Case], dict[str, Any]]:
        """Whether a retriever's first image for the paper's class prompt shows the species; nothing is drawn."""
        searcher = self._tools.retriever(retriever)

        def measure(case: Case) -> dict[str, Any]:
            hit = searcher.search_text(class_prompt(case.species.name), 1, self._tools.split)[0]
            return record_of(case) | {"recall@1": float(self._row(hit.id)["species"] == case.species.name)}

        return measure

    def perfect(self, case: Case) -> dict[str, Any]:
        """A drawing with a true picture of the species in another scene as reference."""
        return self._beside(case, self._true_reference(case))

    def another(self, case: Case) -> dict[str, Any]:
        """A drawing with another species of the same kind, in another scene, as reference."""
        # the scene must come from the prompt
        (other,) = same_kind_references(
            self._library,
            [self._true_reference(case)],
            "eval",
            case.seed,
            lambda row: row.extra["scene"] != case.scene,
        )
        return self._beside(case, other)

    def described(self, case: Case) -> dict[str, Any]:
        """A drawing of the prompt with the name replaced by its attributes in words."""
        return record_of(case) | judge(self._oracle, case, self._draw(Drawing(case.described, case.seed)))

    def restored(self, case: Case) -> dict[str, Any]:
        """What the oracle says of a true picture before and after the autoencoder."""
        truth = _truth(case)
        return (
            record_of(case)
            | judge(self._oracle, case, self._tools.models.get(GENERATOR).restore(truth))
            | {"before": judge(self._oracle, case, truth)}
        )

    def critic_cases(self, count: int) -> list[CriticCase]:
        """A quarter each of common and rare, match and mismatch."""
        return list(verdict_cases(count, CRITIC_STREAM, _is_reported))

    def missing_cases(self, count: int) -> list[CriticCase]:
        """A third each: the thing is wrong, the scene, or the second thing is not there; then invented names."""
        missing = missing_cases(count, CRITIC_STREAM, _is_reported)
        return [*missing, *unheard_cases(count // 4, CRITIC_STREAM)]

    def verdict(self, case: CriticCase) -> dict[str, Any]:
        """Whether the critic's verdict is right, and whether it would be on a grey picture."""
        wanted = not case.missing
        image = self._tools.models.get(GENERATOR).restore(case.image) if case.restored else case.image
        return {
            "species": case.species,
            "cell": case.cell,
            "right verdict": float(self._approves(case.prompt, image) == wanted),
            "right verdict on grey": float(self._approves(case.prompt, GREY) == wanted),
        }

    def missing(self, case: CriticCase) -> dict[str, Any]:
        """Whether the critic names exactly what is missing."""
        image = self._tools.models.get(GENERATOR).restore(case.image) if case.restored else case.image
        reply = self._tools.models.get(CRITIC).ask(dialogue.missing_question(case.prompt), image)
        try:
            found = dialogue.parse_lines(reply)
        except dialogue.UnparseableReply:
            found = ()
        return {"species": case.species, "cell": case.cell, "named exactly": float(found == case.missing)}

    @property
    def _library(self) -> Library:
        return self._tools.library  # type: ignore[return-value]

    def _true_references(self, case: Case) -> tuple[str, ...]:
        """The ids of the library's pictures of the species in other scenes."""
        return tuple(
            row.id
            for row in self._library.rows_of("eval")
            if row.extra["species"] == case.species.name and row.extra["scene"] != case.scene
        )

    def _true_reference(self, case: Case) -> str:
        """One of `_true_references`."""
        rows = list(self._true_references(case))
        return Random(f"reference/{case.prompt}/{case.seed}").choice(rows)

    def _beside(self, case: Case, reference_id: str) -> dict[str, Any]:
        """A drawing beside one library picture, judged, and how much it copies."""
        reference = self._library.image(reference_id)
        image = self._draw(_beside(case, reference))
        return (
            record_of(case)
            | judge(self._oracle, case, image)
            | {"copying": self._copying(case, image, reference)}
        )

    def _copying(self, case: Case, image: Image.Image, reference: Image.Image) -> dict[str, dict[str, float]]:
        """How near a picture is to its reference, and how near an unrelated true picture of the prompt is."""
        return {
            "drawn": distances(self._oracle, image, reference),
            "unrelated": distances(self._oracle, _truth(case), reference),
        }

    def plain_codes(self, case: Case) -> dict[str, Any]:
        """`plain` of the autoregressive model."""
        return record_of(case) | self._judged(
            case, self._drawn(AUTOREGRESSIVE, Drawing(case.prompt, case.seed)).image
        )

    def _draw(self, drawing: Drawing) -> Image.Image:
        return self._drawn(GENERATOR, drawing).image

    def _drawn(self, role: Role[Any], drawing: Drawing) -> Drawn:
        *_, drawn = self._tools.models.get(role).draw(drawing)
        assert isinstance(drawn, Drawn)
        return drawn

    def _judged(self, case: Case, image: Image.Image) -> dict[str, Any]:
        features = self._oracle.features([image])[0]
        return judge(self._oracle, case, image) | {"features": [round(float(value), 3) for value in features]}

    def _approves(self, prompt: str, image: Image.Image) -> bool | None:
        """The critic's verdict; None if it is unreadable."""
        try:
            return dialogue.parse_verdict(
                self._tools.models.get(CRITIC).ask(dialogue.match_question(prompt), image)
            )
        except dialogue.UnparseableReply:
            return None

    def _row(self, image_id: str) -> Mapping[str, Any]:
        return self._library.row(image_id).extra


def _is_reported(species: Species) -> bool:
    return split_of(species) == "report"


def _beside(case: Case, reference: Image.Image) -> Drawing:
    return Drawing(case.prompt, case.seed, condition=ImageReferences((reference,)))


def record_of(case: Case) -> dict[str, Any]:
    """What identifies a case in its record."""
    return {"species": case.species.name, "prompt": case.prompt, "scene": case.scene, "seed": case.seed}


def _truth(case: Case) -> Image.Image:
    """A true picture of the case, in a pose that no library image has."""
    rng = Random(f"truth/{case.prompt}/{case.seed}")
    return compose([thing.look for thing in case.things], case.scene, rng).render(SIZE)
