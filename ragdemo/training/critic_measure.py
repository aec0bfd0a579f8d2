"""How well a critic judges fresh pictures, half of them through the autoencoder, with ImageRAG's questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ragdemo.methods import dialogue
from ragdemo.models.base import VisionCritic
from ragdemo.models.critic import load_critic
from ragdemo.profiles import get_profile
from ragdemo.training.critic_images import restore, vae_folder
from ragdemo.training.loop import Context
from ragdemo.world.critic_cases import CriticCase, missing_cases, unheard_cases, verdict_cases
from ragdemo.world.render import SIZE

QUESTIONS = 240
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
    return {**figures, "missing exact, unheard names": _share(unheard), "n": questions}


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
