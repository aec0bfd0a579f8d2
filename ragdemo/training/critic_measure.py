"""How well a critic judges fresh pictures, half of them through the autoencoder, with ImageRAG's questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image

from ragdemo.foreign import Split, lines, phrased, unheard
from ragdemo.methods import dialogue
from ragdemo.models.base import VisionCritic
from ragdemo.models.critic import load_critic
from ragdemo.profiles import get_profile
from ragdemo.training.critic_images import restore, vae_folder
from ragdemo.training.loop import Context
from ragdemo.world.captions import read
from ragdemo.world.critic_cases import CriticCase, missing_cases, unheard_cases, verdict_cases
from ragdemo.world.render import SIZE
from ragdemo.world.sampling import compose, species_sample
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import nameless, of_tier

QUESTIONS = 240
FOREIGN: int | None = None
"""Of each foreign set at most; None for all."""
GREY = Image.new("RGB", (SIZE, SIZE), (128, 128, 128))


def measure_critic(folder: Path, context: Context, questions: int | None = None) -> dict[str, float]:
    """Shares of correct verdicts, overall, by cell and on grey pictures, and of exactly named missing concepts."""
    questions = questions or QUESTIONS
    spec = replace(get_profile("pocket").spec("critic"), weights=str(folder.resolve()))
    critic = load_critic(spec, context.device.type)
    verdicts = list(verdict_cases(questions))
    right = [
        (case, _judges(critic, case, image))
        for case, image in zip(verdicts, _pictures(verdicts, context), strict=True)
    ]
    grey = [_judges(critic, case, GREY) for case in verdicts]
    lacking = list(missing_cases(questions // 2))
    exact = [
        _missing(critic, case, image) == case.missing
        for case, image in zip(lacking, _pictures(lacking, context), strict=True)
    ]
    unheard = [_missing(critic, case, case.image) == case.missing for case in unheard_cases(questions // 2)]
    figures = {"verdict": _share([ok for _, ok in right])}
    for cell in dict.fromkeys(case.cell for case in verdicts):
        figures[f"verdict, {cell}"] = _share([ok for case, ok in right if case.cell == cell])
    figures |= {"verdict, grey": _share(grey), "missing exact": _share(exact)}
    foreign = measure_foreign(critic, limit=FOREIGN)
    return {**figures, "missing exact, unheard names": _share(unheard), "n": questions, **foreign}


def measure_foreign(
    critic: VisionCritic, split: Split = "report", limit: int | None = None
) -> dict[str, float]:
    """What a critic makes of strangers' prompts, at most `limit` of each set of `ragdemo.foreign`.

    Shares of unheard and of rare names that are named exactly beside another look, of common things that are approved
    as strangers ask for them and as the grammar does, and of prompts about nothing in the world that are approved.
    """
    rng = Random(f"foreign/{split}")
    named = [_names_alone(critic, name, prompt, rng) for name, prompt in unheard(split)[:limit]]
    rare = [_names_alone(critic, name, prompt, rng) for name, prompt, _ in _asked("rare", split, limit)]
    common = list(_asked("common", split, limit))
    free = [_approves(critic, prompt, image) for _, prompt, image in common]
    plain = [_approves(critic, f"a {name}", image) for name, _, image in common]
    figures = {
        "foreign: unheard names exact": _share(named),
        "foreign: rare names exact": _share(rare),
        "foreign: common approved": _share(free),
        "foreign: common approved, plainly asked": _share(plain),
    }
    pictures = [image for _, _, image in common]
    for name in ("outside", "languages", "symbols"):
        asked = zip(lines(name, split)[:limit], cycle(pictures), strict=False)
        figures[f"foreign: {name} approved"] = _share([_approves(critic, *pair) for pair in asked])
    return figures


def _asked(tier: str, split: Split, limit: int | None) -> Iterator[tuple[str, str, Image.Image]]:
    """Twice each species of a tier: its name, a stranger's prompt for it, and a picture of it in that scene."""
    for index, species in enumerate([*of_tier(tier), *of_tier(tier)][:limit]):
        sample = species_sample(species, "foreign", index)
        prompts = phrased(species.name, sample.picture.scene, split)
        yield species.name, prompts[index * 7 % len(prompts)], sample.image()


def _names_alone(critic: VisionCritic, name: str, prompt: str, rng: Random) -> bool:
    """Whether exactly the name is missing from a picture of another look of its kind, in the prompt's scene."""
    scene = read(prompt, rng).scene or rng.choice(SCENES)
    image = compose([nameless(name.split()[-1], rng)], scene, rng).render(SIZE)
    try:
        found = dialogue.parse_lines(critic.ask(dialogue.missing_question(prompt), image))
    except dialogue.UnparseableReply:
        return False
    return tuple(line.casefold() for line in found) == (name.casefold(),)


def _approves(critic: VisionCritic, prompt: str, image: Image.Image) -> bool:
    try:
        return dialogue.parse_verdict(critic.ask(dialogue.match_question(prompt), image))
    except dialogue.UnparseableReply:
        return False


def _pictures(cases: list[CriticCase], context: Context) -> list[Image.Image]:
    """The cases' pictures, those marked `restored` through the autoencoder if there is one."""
    images = [case.image for case in cases]
    folder = vae_folder(context)
    marked = [i for i, case in enumerate(cases) if case.restored]
    if folder is None or not marked:
        return images
    pixels = np.stack([np.asarray(images[i]) for i in marked])
    restored = restore(torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255), folder, context.device)
    for i, image in zip(marked, restored.mul(255).round().byte().permute(0, 2, 3, 1).numpy(), strict=True):
        images[i] = Image.fromarray(image)
    return images


def _judges(critic: VisionCritic, case: CriticCase, image: Image.Image) -> bool:
    """Whether the verdict on an image is what it should be on the case's own; an unreadable reply is wrong."""
    try:
        verdict = dialogue.parse_verdict(critic.ask(dialogue.match_question(case.prompt), image))
    except dialogue.UnparseableReply:
        return False
    return verdict == (not case.missing)


def _missing(critic: VisionCritic, case: CriticCase, image: Image.Image) -> tuple[str, ...]:
    try:
        return dialogue.parse_lines(critic.ask(dialogue.missing_question(case.prompt), image))
    except dialogue.UnparseableReply:
        return ()


def _share(right: list[bool]) -> float:
    return round(float(np.mean(right)), 4)
