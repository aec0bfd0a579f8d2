"""Stage `student`: one step that makes of noise what the teacher makes of it in many, with a middle that matters.

It begins as the teacher, whose prediction at the highest noise is the negative picture already. Smooth-L1 regression on
the teacher's latents; an adversarial term joins late (`ragdemo.training.latent_critic`). A UNet left to itself carries
shapes and colours past its middle through skip connections, so that nothing could be injected there. Three settings
work against that: SKIP_DROP, how often the deeper skips are dropped; BLEND_SHARE, in how many batches the middle is
interpolated with that of a retrieved pair while the teacher's answer beside that pair is asked for; ALIGN, the weight
of telling, in those batches, from the pairs' middle what the IP-Adapter's image encoder sees in them. With the first
two at 0 it is the published training.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import Tensor, nn

from ragdemo.methods.turbo.training import dropped_skips, interpolating
from ragdemo.models.features import unet_features
from ragdemo.training import latent_critic
from ragdemo.training.export import write_card
from ragdemo.training.keys import constants
from ragdemo.training.latent_critic import Heads, LatentCritic, stage_channels
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.probes import probe
from ragdemo.training.student_data import Batch, StudentData

FOLDER = "student"
BATCH = 32
TIMESTEP = 999
REGRESSION = 2.5
ADVERSARIAL = 1.0
ADVERSARIAL_FROM = 0.7
"""From which share of the steps on the adversarial term counts."""
SKIP_DROP = 0.4
DROPPED = ("up_blocks.0", "up_blocks.1")
BLEND_SHARE = 0.4
MOST_OWN = 0.5
"""The greatest share w of the prompt's own features in such a blend."""
ALIGN = 0.5
MIDDLE = "mid_block"
CURVE_EVERY = 500
MEASURED = 8
"""Batches of a measurement, in an order that training does not see."""
PROBED = 2_000


def train_student(context: Context) -> None:
    """Train the student on the pairs that are there and write the checkpoint `student`: UNet and scheduler."""
    data = StudentData(context)
    teacher = data.teacher_unet
    torch.manual_seed(0)
    modules = {
        "student": new_student(teacher),
        "heads": Heads(stage_channels(teacher)),
        "seen": _reader(data),
    }
    loop = Loop(
        "student",
        context,
        modules,
        steps=20_000,
        learning_rate=2e-4,
        ema_decay=0.998,
        inputs={**data.inputs, "critic": constants(latent_critic)},
    )
    training = _Training(data, loop)
    loop.run(training.loss)
    export(context, loop, data, training)


def new_student(teacher: UNet2DConditionModel) -> UNet2DConditionModel:
    """The teacher as a student that predicts x0: at the highest noise v = −x0, so its last layer is negated."""
    student = copy.deepcopy(teacher).requires_grad_(True).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for parameter in student.conv_out.parameters():
            parameter.neg_()
    return student


def one_step_scheduler(context: Context) -> DPMSolverMultistepScheduler:
    """The teacher's schedule with x0 as what is predicted: its one step is the prediction itself."""
    folder = context.assets / "diffusion" / "scheduler"
    return DPMSolverMultistepScheduler.from_pretrained(folder, prediction_type="sample")


def one_step(unet: nn.Module, batch: Batch) -> Tensor:
    """x0 `(B, c, h, w)`, float32."""
    t = torch.full((len(batch.noise),), TIMESTEP, device=batch.noise.device)
    with autocast(batch.noise.device):
        return unet(batch.noise, t, encoder_hidden_states=batch.states).sample.float()


def features_of(unet: nn.Module, latents: Tensor, states: Tensor) -> Tensor:
    """h `(B, C, h, w)` of pictures without noise."""
    t = torch.zeros(len(latents), device=latents.device, dtype=torch.long)
    with autocast(latents.device):
        return unet_features(unet, latents, t, states, (MIDDLE,))[MIDDLE].float()


def _reader(data: StudentData) -> nn.Linear:
    return nn.Linear(data.teacher_unet.config.block_out_channels[-1], data.vision_width)


class _Training:
    """The loss of one step, and the learning curve."""

    def __init__(self, data: StudentData, loop: Loop) -> None:
        self._data, self._loop = data, loop
        self._student, self._seen = loop.modules["student"], loop.modules["seen"]
        heads = loop.modules["heads"]
        assert isinstance(heads, Heads)
        self._critic = LatentCritic(data.teacher_unet, data.noise_levels, heads)
        self._curve_file = loop.state_file.with_suffix(".curve.jsonl")

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Regression, alignment, and later the adversarial term."""
        rng = step_rng("student", step)
        is_paired = rng.random() < BLEND_SHARE
        batch = self._data.batch(rng, BATCH, is_paired)
        drawn, middle = self._drawn(batch, rng)
        figures = {"paired" if is_paired else "plain": float(F.smooth_l1_loss(drawn.detach(), batch.target))}
        loss = REGRESSION * F.smooth_l1_loss(drawn, batch.target)
        if middle is not None and ALIGN:
            seen = F.cosine_similarity(self._seen(middle.mean((2, 3))), batch.vision, dim=-1).mean()
            loss, figures = loss + ALIGN * (1 - seen), figures | {"seen": float(seen.detach())}
        if step >= ADVERSARIAL_FROM * self._loop.steps:
            for_student, hinge = self._critic.losses(drawn, batch.target, batch.states)
            loss = loss + ADVERSARIAL * for_student + hinge
            figures |= {"hinge": float(hinge.detach())}
        if step % CURVE_EVERY == 0:
            self._note(step)
        return loss, figures

    def _drawn(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """The student's latents, and the middle of the retrieved pictures if there are any."""
        kept = torch.from_numpy((rng.random(len(batch.noise)) >= SKIP_DROP).astype(np.float32))
        kept = kept.to(batch.noise.device)
        if batch.retrieved is None:
            with dropped_skips(self._student, DROPPED, kept):
                return one_step(self._student, batch), None
        middle = features_of(self._student, batch.retrieved, batch.retrieved_states)
        weight = torch.from_numpy(rng.uniform(0, MOST_OWN, len(batch.noise)).astype(np.float32))
        blended = interpolating(self._student, {MIDDLE: middle}, weight.to(middle.device))
        with dropped_skips(self._student, DROPPED, kept), blended:
            return one_step(self._student, batch), middle

    @torch.no_grad()
    def measure(self, student: nn.Module) -> dict[str, float]:
        """Smooth-L1 on batches of an order of their own: of words alone, with pairs at w = 0.3, and without them."""
        found: dict[str, list[float]] = {"plain": [], "paired": [], "paired, nothing retrieved": []}
        for turn in range(MEASURED):
            plain, paired = (
                self._data.batch(step_rng("student", 10**9 + turn), BATCH, one) for one in (False, True)
            )
            found["plain"].append(float(F.smooth_l1_loss(one_step(student, plain), plain.target)))
            alone = F.smooth_l1_loss(one_step(student, paired), paired.target)
            found["paired, nothing retrieved"].append(float(alone))
            assert paired.retrieved is not None
            middle = features_of(student, paired.retrieved, paired.retrieved_states)
            weight = torch.full((len(middle),), 0.3, device=middle.device)
            with interpolating(student, {MIDDLE: middle}, weight):
                found["paired"].append(float(F.smooth_l1_loss(one_step(student, paired), paired.target)))
        return {name: round(float(np.mean(values)), 5) for name, values in found.items()}

    def _note(self, step: int) -> None:
        """Add a point to the learning curve, which is kept beside the state."""
        self._curve_file.parent.mkdir(parents=True, exist_ok=True)
        row = {"step": step, **self.measure(self._loop.averaged["student"])}
        with self._curve_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def curve(self) -> list[dict[str, float]]:
        """The points so far by step; one that was measured again after an interruption counts once."""
        if not self._curve_file.exists():
            return []
        rows = map(json.loads, self._curve_file.read_text(encoding="utf-8").splitlines())
        return list({row["step"]: row for row in rows}.values())


def export(context: Context, loop: Loop, data: StudentData, training: _Training) -> None:
    """Write the averaged student, its scheduler, and what probes find in its middle and in the teacher's."""
    folder, student = context.assets / FOLDER, loop.averaged["student"]
    figures = {
        "smooth_l1": training.measure(student),
        "probes_of_h": probes_of_h(student, data),
        "probes_of_the_teachers_h": probes_of_h(data.teacher_unet, data),
    }
    save_student(student, one_step_scheduler(context), folder)
    settings = {"skip_drop": SKIP_DROP, "blend_share": BLEND_SHARE, "align": ALIGN}
    facts = {"data": f"{len(data)} pairs", **loop.card(), "settings": settings, "figures": figures}
    write_card(folder, {**facts, "curve": training.curve()})


def save_student(student: nn.Module, scheduler: DPMSolverMultistepScheduler, folder: Path) -> None:
    """Write UNet, in half precision, and scheduler."""
    half = copy.deepcopy(student).half()
    half.save_pretrained(folder / "unet", max_shard_size="9MB")  # type: ignore[operator]
    scheduler.save_pretrained(folder / "scheduler")


@torch.inference_mode()
def probes_of_h(unet: nn.Module, data: StudentData) -> dict[str, float]:
    """What linear probes tell from the middle alone of the library's pictures, read without words."""
    latents = data.library_latents[:PROBED]
    parts = [features_of(unet, part, data.no_words(len(part))) for part in latents.split(BATCH)]
    return probe(torch.cat(parts).cpu().numpy(), data.library_rows[: len(latents)])
