"""How each case of the one-step method is measured: with which pair, at which w, and with what in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Self

import numpy as np
from PIL import Image

from ragdemo.evaluation.measures import Measures, record_of
from ragdemo.evaluation.prompts import Case
from ragdemo.events import Reference
from ragdemo.methods.turbo.adapter import H_CONTROL
from ragdemo.methods.turbo.condition import HSpaceBlend
from ragdemo.methods.turbo.flow import Run
from ragdemo.methods.turbo.retrieval import open_captions
from ragdemo.models.base import ONE_STEP, Drawing
from ragdemo.request import Request

NINE = 9
Pick = Callable[[Case, Run], Reference]


class BlendMeasures(Measures):
    """Measures of drawings in one step; each record also says whether the pair shows the species, and another scene."""

    @classmethod
    def like(cls, measures: Measures) -> Self:
        """The same method, tools and oracle; the captions are read at once, before many ask for them."""
        made = cls(measures._name, measures._tools, measures._oracle)
        open_captions(made._library, made._tools.models.get(ONE_STEP))
        return made

    def alone(self, case: Case) -> dict[str, Any]:
        """The student's drawing of the prompt alone."""
        return record_of(case) | self._judged(case, self._one_step(Drawing(case.prompt, case.seed)))

    def blended(
        self, changes: Mapping[str, Any], pick: Pick | None = None, *, is_blank: bool = False
    ) -> Callable[[Case], dict[str, Any]]:
        """A drawing with a pair under changed settings: by default the one that is found.

        `is_blank` puts zeros in the place of h_ret, with the control that was trained so if the profile has it.
        """

        def measure(case: Case) -> dict[str, Any]:
            run = self._run(case, changes)
            reference = (pick or self.found_pair)(case, run)
            condition = run.blend(reference)
            if is_blank:
                condition = replace(condition, retrieved=condition.retrieved.blank())
                if condition.adapter is not None and self._tools.models.has(H_CONTROL):
                    condition = replace(condition, adapter=self._tools.models.get(H_CONTROL))
            image = self._one_step(Drawing(case.prompt, case.seed, condition=condition))
            return record_of(case) | self._of_pair(case, reference) | self._judged(case, image)

        return measure

    def best_of(self, changes: Mapping[str, Any], kind: str) -> Callable[[Case], dict[str, Any]]:
        """The first of nine drawings that the critic accepts, or the first of all.

        `kind` is "w", nine of them from 0 to 1; "seeds" with the pair; or "seeds alone".
        """

        def measure(case: Case) -> dict[str, Any]:
            run = self._run(case, changes)
            blend = run.blend(self.found_pair(case, run))
            drawings = {"w": _weights, "seeds": _seeds, "seeds alone": _seeds_alone}[kind](case, blend)
            images = [self._one_step(drawing) for drawing in drawings]
            accepted = [image for image in images if self._approves(case.prompt, image)]
            return record_of(case) | self._judged(case, (accepted or images)[0])

        return measure

    def recalled(self, search: str) -> Callable[[Case], dict[str, Any]]:
        """Whether the found pair shows the species; nothing is drawn."""

        def measure(case: Case) -> dict[str, Any]:
            reference = self.found_pair(case, self._run(case, {"search": search}))
            return record_of(case) | self._of_pair(case, reference)

        return measure

    def found_pair(self, case: Case, run: Run) -> Reference:
        """What the method itself finds."""
        return run.find().used[0]

    def true_pair(self, case: Case, run: Run) -> Reference:
        """A picture of the species in another scene."""
        return self._pair(self._true_reference(case), run, case)

    def random_pair(self, case: Case, run: Run) -> Reference:
        """Any picture of the library."""
        rows = self._library.rows_of(self._tools.split)
        return self._pair(Random(f"random/{case.prompt}/{case.seed}").choice(rows).id, run, case)

    def _pair(self, image_id: str, run: Run, case: Case) -> Reference:
        score = run.searcher.score(case.prompt, [image_id])[0]
        return Reference(image_id, self._library.caption(image_id), score, "", self._library.image(image_id))

    def _of_pair(self, case: Case, reference: Reference) -> dict[str, float]:
        row = self._row(reference.id)
        return {
            "recall@1": float(row["species"] == case.species.name),
            "scene apart": float(row["scene"] != case.scene),
        }

    def _run(self, case: Case, changes: Mapping[str, Any]) -> Run:
        settings = {**changes, "strip": False}
        return Run(
            Request(prompt=case.prompt, method="turbo", seed=case.seed, settings=settings), self._tools
        )

    def _one_step(self, drawing: Drawing[Any]) -> Image.Image:
        return self._drawn(ONE_STEP, drawing).image


def _weights(case: Case, blend: HSpaceBlend) -> Sequence[Drawing[Any]]:
    own = [float(weight) for weight in np.linspace(0, 1, NINE)]
    return [Drawing(case.prompt, case.seed, condition=replace(blend, weight=weight)) for weight in own]


def _seeds(case: Case, blend: HSpaceBlend) -> Sequence[Drawing[Any]]:
    return [Drawing(case.prompt, seed, condition=blend) for seed in _nine_seeds(case)]


def _seeds_alone(case: Case, blend: HSpaceBlend) -> Sequence[Drawing[Any]]:
    return [Drawing(case.prompt, seed) for seed in _nine_seeds(case)]


def _nine_seeds(case: Case) -> Sequence[int]:
    return [case.seed, *(10**6 * turn + case.seed for turn in range(1, NINE))]
