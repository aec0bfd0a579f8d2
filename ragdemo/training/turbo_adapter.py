"""Stages `turbo-adapter` and `turbo-control`: what blends a retrieved pair into the student, and the same without one.

The student's own weights stay. The adapter learns from the pairs that were retrieved for captions, half of which have
no name: to draw what the teacher draws beside the same pair. The control is trained alike on features that are all
zero; what the adapter does better than it is the retrieval's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor

from ragdemo.errors import UserError
from ragdemo.methods.turbo.adapter import Config, HSpaceAdapter, save_adapter
from ragdemo.methods.turbo.training import adapting, decoder_matrices
from ragdemo.models.features import unet_features
from ragdemo.training import student
from ragdemo.training.export import write_card
from ragdemo.training.frozen import frozen
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.student import one_step
from ragdemo.training.student_data import Batch, StudentData
from ragdemo.weights import weights_hash

FOLDERS = {"turbo-adapter": "turbo_adapter", "turbo-control": "turbo_control"}
BATCH = 32
LEVELS = ("mid_block",)
"""As published; "up_blocks.0" and further ones are our extension."""
HEADS = 4
RANK = 8
PLAIN_SHARE = 0.1
"""Of the batches: words alone, λ = 0, so that the tuned decoder half still draws them."""
MEASURED = 8


def train_adapter(context: Context) -> None:
    """Train the adapter on the pairs that are there and write the checkpoint `turbo_adapter`."""
    _train(context, "turbo-adapter", is_blank=False)


def train_control(context: Context) -> None:
    """Train the control and write the checkpoint `turbo_control`, which is only measured."""
    _train(context, "turbo-control", is_blank=True)


def _train(context: Context, name: str, *, is_blank: bool) -> None:
    data, unet = StudentData(context), open_student(context)
    torch.manual_seed(0)
    adapter = new_adapter(unet)
    loop = Loop(
        name,
        context,
        {"adapter": adapter},
        steps=6_000,
        learning_rate=5e-4,
        ema_decay=0.995,
        inputs={**data.inputs, "student": weights_hash(context.assets / student.FOLDER)},
    )
    training = _Training(data, unet, is_blank=is_blank)
    loop.run(lambda step: training.loss(adapter, step))
    averaged = loop.averaged["adapter"]
    assert isinstance(averaged, HSpaceAdapter)
    folder = context.assets / FOLDERS[name]
    save_adapter(averaged, folder)
    card = {"data": f"{len(data)} pairs", **loop.card(), "figures": training.measure(averaged)}
    write_card(folder, card)


def open_student(context: Context) -> UNet2DConditionModel:
    """The trained student, frozen; raises `UserError` if there is none."""
    folder = context.assets / student.FOLDER / "unet"
    if not folder.is_dir():
        raise UserError(f"There is no student in {folder.parent}; run the stage student first.")
    unet = UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32)
    model: UNet2DConditionModel = frozen(unet, context.device)
    return model


def new_adapter(unet: UNet2DConditionModel) -> HSpaceAdapter:
    """An untrained adapter for a UNet."""
    matrices = decoder_matrices(unet)
    with torch.no_grad():
        widths = _widths(unet)
    groups = unet.config.norm_num_groups
    config = Config(LEVELS, widths, HEADS, groups, RANK, matrices=tuple(matrices))
    return HSpaceAdapter(config, list(matrices.values()))


def _widths(unet: UNet2DConditionModel) -> tuple[int, ...]:
    """The channels at each level."""
    config = unet.config
    weight = next(unet.parameters())
    side = config.sample_size
    latents, states = (
        weight.new_zeros(1, config.in_channels, side, side),
        weight.new_zeros(1, 1, config.cross_attention_dim),
    )
    found = unet_features(unet, latents, 0, states, LEVELS)
    return tuple(found[level].shape[1] for level in LEVELS)


class _Training:
    """The loss of one step."""

    def __init__(self, data: StudentData, unet: UNet2DConditionModel, *, is_blank: bool) -> None:
        self._data, self._unet, self._is_blank = data, unet, is_blank

    def loss(self, adapter: HSpaceAdapter, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Smooth-L1 to the teacher's latents."""
        rng = step_rng("turbo-adapter", step)
        is_paired = rng.random() >= PLAIN_SHARE
        loss = self._distance(adapter, self._data.batch(rng, BATCH, is_paired))
        return loss, {"paired" if is_paired else "plain": float(loss.detach())}

    @torch.inference_mode()
    def measure(self, adapter: HSpaceAdapter) -> dict[str, float]:
        """The mean loss of batches in an order that training has not seen, also of the student alone."""
        found: dict[str, list[float]] = {"paired": [], "paired, the student alone": [], "plain": []}
        for turn in range(MEASURED):
            paired, plain = (
                self._data.batch(step_rng("turbo-adapter", 10**9 + turn), BATCH, one) for one in (True, False)
            )
            found["paired"].append(float(self._distance(adapter, paired)))
            found["paired, the student alone"].append(
                float(F.smooth_l1_loss(one_step(self._unet, paired), paired.target))
            )
            found["plain"].append(float(self._distance(adapter, plain)))
        return {name: round(float(np.mean(values)), 5) for name, values in found.items()}

    def _distance(self, adapter: HSpaceAdapter, batch: Batch) -> Tensor:
        retrieved, strength = self._retrieved(batch)
        with adapting(adapter, self._unet, retrieved, strength):
            return F.smooth_l1_loss(one_step(self._unet, batch), batch.target)

    @torch.no_grad()
    def _retrieved(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """h_ret by level, all zero for the control; and λ, zero if nothing was retrieved."""
        source, states = (
            (batch.target, batch.states)
            if batch.retrieved is None
            else (batch.retrieved, batch.retrieved_states)
        )
        times = torch.zeros(len(source), device=source.device, dtype=torch.long)
        with autocast(source.device):
            found = unet_features(self._unet, source, times, states, LEVELS)
        is_zero = self._is_blank or batch.retrieved is None
        features = {level: torch.zeros_like(h) if is_zero else h for level, h in found.items()}
        return features, batch.similarity if batch.retrieved is not None else torch.zeros_like(
            batch.similarity
        )
