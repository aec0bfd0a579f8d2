"""How well a critic judges: on fresh pictures, half of them through the autoencoder, asked as ImageRAG asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image

from ragdemo.methods.imagerag import dialogue
from ragdemo.models.critic import TransformersCritic, load_critic
from ragdemo.pocket.captions import article, prompt_for
from ragdemo.pocket.kinds import KINDS
from ragdemo.pocket.render import SIZE
from ragdemo.pocket.sampling import compose, species_sample
from ragdemo.pocket.scenes import SCENES
from ragdemo.pocket.species import Species, nameless, of_tier
from ragdemo.pocket.train.critic_images import restore, vae_folder
from ragdemo.pocket.train.loop import Context

STREAM = "validate/critic"
QUESTIONS = 240
GREY = Image.new("RGB", (SIZE, SIZE), (128, 128, 128))


@dataclass(frozen=True)
class Case:
    """A picture, a prompt for it and what the picture lacks of it (nothing where it matches)."""

    cell: str
    image: Image.Image
    prompt: str
    missing: tuple[str, ...] = ()


def measure_critic(folder: Path, context: Context, questions: int | None = None) -> dict[str, float]:
    """Shares of right verdicts, over all and by cell, on grey pictures, and of exactly named missing concepts."""
    questions = questions or QUESTIONS
    critic = load_critic(str(folder.resolve()), context.device.type)
    verdicts = _through_autoencoder(list(verdict_cases(questions)), context)
    right = [(case, _judges(critic, case, case.image)) for case in verdicts]
    grey = [_judges(critic, case, GREY) for case in verdicts]
    lacking = _through_autoencoder(list(missing_cases(questions // 2)), context)
    exact = [_missing(critic, case) == case.missing for case in lacking]
    figures = {"verdict": _share([ok for _, ok in right])}
    for cell in dict.fromkeys(case.cell for case in verdicts):
        figures[f"verdict, {cell}"] = _share([ok for case, ok in right if case.cell == cell])
    return {**figures, "verdict, grey": _share(grey), "missing exact": _share(exact), "n": questions}


def verdict_cases(count: int) -> Iterator[Case]:
    """A quarter each of common and rare, match and mismatch."""
    for index in range(count):
        tier, matches = ("common", "rare")[index % 2], index // 2 % 2 == 0
        rng = Random(f"{STREAM}/verdict/{index}")
        species = rng.choice(of_tier(tier))
        cell = f"{tier} {'match' if matches else 'mismatch'}"
        if matches:
            yield _match(cell, species, index)
        else:
            yield (_nameless, _near_species, _wrong_scene)[index // 4 % 3](cell, species, index, rng)


def missing_cases(count: int) -> Iterator[Case]:
    """A third each: the thing is wrong, the scene, or the second thing is not there."""
    for index in range(count):
        rng = Random(f"{STREAM}/missing/{index}")
        species = rng.choice(of_tier(("common", "rare")[index % 2]))
        makers = ((_nameless, _near_species)[index % 2], _wrong_scene, _second_thing)
        yield makers[index // 2 % 3]("missing", species, index, rng)


def nearest_kin(species: Species) -> list[Species]:
    """The species that are most easily mistaken: same kind, tier, outline and main colour, else same kind and tier."""
    kin = [s for s in of_tier(species.tier) if s.look.kind == species.look.kind and s != species]
    twins = [s for s in kin if (s.look.shape, s.look.main) == (species.look.shape, species.look.main)]
    return twins or kin


def _match(cell: str, species: Species, index: int) -> Case:
    sample = species_sample(species, STREAM, index)
    return Case(cell, sample.image(), prompt_for(species.name, sample.picture.scene))


def _nameless(cell: str, species: Species, index: int, rng: Random) -> Case:
    """What a generator draws for a name that it never heard; not for common names, which a chance look may meet."""
    if species.tier == "common":
        return _near_species(cell, species, index, rng)
    scene = rng.choice(SCENES)
    picture = compose([nameless(species.look.kind, rng)], scene, rng)
    return Case(cell, picture.render(SIZE), prompt_for(species.name, scene), (species.name,))


def _near_species(cell: str, species: Species, index: int, rng: Random) -> Case:
    sample = species_sample(rng.choice(nearest_kin(species)), STREAM, index)
    return Case(cell, sample.image(), prompt_for(species.name, sample.picture.scene), (species.name,))


def _wrong_scene(cell: str, species: Species, index: int, rng: Random) -> Case:
    sample = species_sample(species, STREAM, index)
    other = rng.choice([scene for scene in SCENES if scene != sample.picture.scene])
    return Case(cell, sample.image(), prompt_for(species.name, other), (other,))


def _second_thing(cell: str, species: Species, index: int, rng: Random) -> Case:
    sample = species_sample(species, STREAM, index)
    kind = rng.choice([kind for kind in KINDS if kind != species.look.kind])
    second = rng.choice(
        [s for tier in ("common", "rare", "novel") for s in of_tier(tier) if s.look.kind == kind]
    )
    prompt = f"{article(species.name)} and {article(second.name)} in the {sample.picture.scene}"
    return Case(cell, sample.image(), prompt, (second.name,))


def _through_autoencoder(cases: list[Case], context: Context) -> list[Case]:
    """Every other block of cases as the autoencoder restores it, where there is one."""
    folder = vae_folder(context)
    chosen = [i for i in range(len(cases)) if i // 12 % 2]
    if folder is None or not chosen:
        return cases
    pixels = np.stack([np.asarray(cases[i].image) for i in chosen])
    restored = restore(torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255), folder, context.device)
    for i, image in zip(chosen, restored.mul(255).round().byte().permute(0, 2, 3, 1).numpy(), strict=True):
        cases[i] = Case(cases[i].cell, Image.fromarray(image), cases[i].prompt, cases[i].missing)
    return cases


def _judges(critic: TransformersCritic, case: Case, image: Image.Image) -> bool:
    """Whether the verdict on an image is what it should be on the case's own; a reply nobody can read is wrong."""
    try:
        verdict = dialogue.parse_verdict(critic.ask(dialogue.match_question(case.prompt), image))
    except dialogue.UnparseableReply:
        return False
    return verdict == (not case.missing)


def _missing(critic: TransformersCritic, case: Case) -> tuple[str, ...]:
    try:
        return dialogue.parse_lines(critic.ask(dialogue.missing_question(case.prompt), case.image))
    except dialogue.UnparseableReply:
        return ()


def _share(right: list[bool]) -> float:
    return round(float(np.mean(right)), 4)
