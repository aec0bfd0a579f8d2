"""Choose the examples and record their runs, which the page then shows at once.

    python -m scripts.record_examples [--seeds 3] [--count 3]

Only runs that make their point are kept: the draft has not what was asked for and the result has all of it, each of
another kind. One more goes wrong, and right with another of its candidates; and one of RealRAG has a prompt on which
the retrievers disagree. Each becomes a folder of `assets/pocket/recordings/`, as `python -m ragdemo run --out` writes
it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import TypeVar

from ragdemo.evaluation.checklist import Checklist
from ragdemo.events import Draft, Event, References, Result
from ragdemo.methods.realrag.events import Rankings
from ragdemo.profiles import ASSETS
from ragdemo.request import Choices, Request
from ragdemo.run.examples import LIST, RECORDINGS, Example
from ragdemo.run.inprocess import InProcess
from ragdemo.run.recorder import whole_folder, write_run
from ragdemo.world.captions import prompt_for
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import Species, common_kinds, of_tier

FOLDER = ASSETS / "pocket" / RECORDINGS
E = TypeVar("E", bound=Event)


class Chooser:
    """Runs prompts, and says of their events what they show."""

    def __init__(self, seeds: int) -> None:
        self._seeds = range(seeds)
        self._runner = InProcess()
        self._checklist = Checklist(ASSETS / "pocket" / "oracle")

    def example(self, kind: str) -> list[Event] | None:
        """A run about a kind that makes its point."""
        return next(filter(self._makes_its_point, self._runs(kind, "imagerag")), None)

    def failure(self, kind: str) -> list[Event] | None:
        """A run about a kind whose reference is wrong, and right with another of its candidates."""
        return next(filter(self._can_be_put_right, self._runs(kind, "imagerag")), None)

    def disagreement(self, kind: str) -> list[Event] | None:
        """A run of RealRAG in which only its own retriever finds the name first, and whose result is right."""
        runs = self._runs(kind, "realrag")
        return next((run for run in runs if _disagree(run) and self._makes_its_point(run)), None)

    def _runs(self, kind: str, method: str) -> Iterator[list[Event]]:
        names = [species for species in of_tier("rare") if species.look.kind == kind]
        for seed in self._seeds:
            for number, species in enumerate(names):
                yield self._run(Request(prompt=_prompt(species, number), method=method, seed=seed))

    def _run(self, request: Request) -> list[Event]:
        return list(self._runner.run(request))

    def _shows(self, event: Draft | Result, prompt: str) -> bool:
        return all(check.shown for check in self._checklist(prompt, event.image))

    def _makes_its_point(self, events: list[Event]) -> bool:
        result = _last(events, Result)
        prompt = result.recipe.request.prompt
        return not self._shows(_last(events, Draft), prompt) and self._shows(result, prompt)

    def _can_be_put_right(self, events: list[Event]) -> bool:
        result, found = _last(events, Result), [one for one in events if isinstance(one, References)]
        request = result.recipe.request
        if not found or len(found[0].used) != 1 or self._shows(result, request.prompt):
            return False
        if _is_named(found[0].used[0].caption, request.prompt):
            return False
        right = [one.id for one in found[0].others if _is_named(one.caption, request.prompt)]
        again = (request.changed(choices=Choices(pinned=(image_id,))) for image_id in right[:1])
        return any(self._shows(_last(self._run(one), Result), request.prompt) for one in again)


def main() -> None:
    """Choose and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=3)
    options = parser.parse_args()
    chooser, kinds = Chooser(options.seeds), list(common_kinds())
    chosen: list[tuple[Example, list[Event]]] = []
    wanted = [
        *[(chooser.example, partial(Example))] * options.count,
        (chooser.failure, partial(Example, is_failure=True)),
        (chooser.disagreement, partial(Example, method="realrag")),
    ]
    for find, made in wanted:
        while kinds:
            events = find(kinds.pop(0))
            if events is not None:
                example = made(_last(events, Result).recipe.request.prompt)
                chosen.append((example, events))
                print(example, flush=True)
                break
    _record(chosen)


def _record(chosen: Sequence[tuple[Example, list[Event]]]) -> None:
    """Write the chosen runs in the place of those that are there."""
    for folder in FOLDER.iterdir():
        if folder.is_dir() and folder not in {example.folder for example, _ in chosen}:
            shutil.rmtree(folder)
    for example, events in chosen:
        with whole_folder(example.folder) as folder:
            write_run(events, folder)
    rows = [asdict(example) for example, _ in chosen]
    (FOLDER / LIST).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _prompt(species: Species, number: int) -> str:
    return prompt_for(species.name, SCENES[number % len(SCENES)])


def _disagree(events: list[Event]) -> bool:
    rankings = _last(events, Rankings)
    first = {one.retriever: one.references[0].caption for one in rankings.rankings}
    return _is_named(first["real"], rankings.query) and not _is_named(first["zero"], rankings.query)


def _is_named(caption: str, prompt: str) -> bool:
    """Whether a caption has the name that a prompt of `prompt_for` begins with."""
    return " ".join(prompt.split()[1:3]) in caption


def _last(events: Sequence[Event], kind: type[E]) -> E:
    return next(event for event in reversed(events) if isinstance(event, kind))


if __name__ == "__main__":
    main()
