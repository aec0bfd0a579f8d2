"""Stage `janus-vq`: the image tokenizer of the pocket Janus, 128×128 pixels to 16×16 codes of a unit-norm codebook.

Codes are nearest by cosine (ViT-VQGAN, Yu et al. 2022). The codebook is shipped unit-norm, so that the library's own
Euclidean argmin takes the same code. The library's forward pass gives the encoder no gradient; the straight-through
step is therefore written here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import JanusVQVAEConfig
from transformers.models.janus.modeling_janus import JanusVQVAE, JanusVQVAEResnetBlock

from ragdemo.models.janus import quantise, restore
from ragdemo.training import adversarial
from ragdemo.training.adversarial import PatchDiscriminator, adversarial_losses, careful_reconstruction_loss
from ragdemo.training.export import shipped_card, write_card
from ragdemo.training.keys import constants
from ragdemo.training.loop import Context, Loop, step_rng
from ragdemo.training.vae import GENERATOR_POOL, _psnr, to_tensor
from ragdemo.world.pool import Pool, render_pool

CODES = 1024
CODE_WIDTH = 8
GRID = 16
BATCH = 8
CROP = 64
WHOLE_EVERY = 4
"""Every fourth batch shows whole pictures: attention and group norm see other statistics in a crop."""
COMMITMENT = 0.25
ADVERSARIAL_FROM = 0.4
"""Share of the training after which the discriminator joins in."""
ADVERSARIAL_WEIGHT = 0.05
CODEBOOK_FROM = 600
"""Steps without a codebook, so that its entries can begin where pictures' vectors lie."""
REVIVE_EVERY = 100
REVIVE_UNTIL = 0.7
"""Share of the training in which codes that nothing takes are put elsewhere."""
FOLDER = "janus_vq"


def vq_config(width: int) -> JanusVQVAEConfig:
    """The tokenizer's configuration inside a Janus of hidden size `width`: 3.5M parameters.

    The class normalises in 32 groups: with 32 channels at the end each would lose its mean, and with it the picture's
    colours, so there are two channels a group at least.
    """
    return JanusVQVAEConfig(
        embed_dim=CODE_WIDTH,
        num_embeddings=CODES,
        latent_channels=64,
        base_channels=32,
        channel_multiplier=[2, 2, 2, 4],
        num_res_blocks=1,
        num_patches=GRID,
        projection_dim=width,
        image_token_embed_dim=width,
        num_hidden_layers=2,
    )


def train_janus_vq(context: Context) -> None:
    """Train on random crops and whole pictures; the stage `janus` takes the result in."""
    torch.manual_seed(0)
    vq = JanusVQVAE.from_pretrained(vq_folder(context), dtype=torch.float32) if context.warm else _fresh()
    vq.to(memory_format=torch.channels_last)
    judge = PatchDiscriminator().to(memory_format=torch.channels_last)
    pool = render_pool(GENERATOR_POOL, context.pools, context.workers)
    loop = Loop(
        "janus-vq",
        context,
        {"vq": vq, "judge": judge},
        steps=12_000,
        learning_rate=1e-3,
        ema_decay=0.998,
        origin=shipped_card(vq_folder(context)) if context.warm else None,
        inputs={"pool": pool.spec, "loss": constants(adversarial)},
    )
    training = _Training(vq, judge, loop.steps, 0 if context.warm else CODEBOOK_FROM)
    loop.run(lambda step: training.loss(to_tensor(_pictures(pool, step), context.device), step))
    averaged = loop.averaged["vq"]
    with torch.no_grad():
        averaged.quantize.embedding.weight.copy_(F.normalize(averaged.quantize.embedding.weight, dim=-1))
    folder = vq_folder(context)
    folder.mkdir(parents=True, exist_ok=True)
    averaged.half().save_pretrained(folder)
    write_card(folder, {"data": GENERATOR_POOL.folder, **loop.card()})


class _Training:
    """The loss of one step, and the care for codes that nothing takes."""

    def __init__(self, vq: JanusVQVAE, judge: PatchDiscriminator, steps: int, codebook_from: int) -> None:
        self._vq, self._judge = vq, judge
        self._codebook_from, self._judged_from = codebook_from, ADVERSARIAL_FROM * steps
        self._revived_until = REVIVE_UNTIL * steps
        self._seen = torch.zeros(CODES, device=vq.quantize.embedding.weight.device)

    def loss(self, target: torch.Tensor, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss over pictures `(B, 3, H, W)` and figures to log."""
        # float32: group norm on bfloat16 takes a CPU longer than the convolutions gain
        unit, entries, codes = quantise(self._vq, target)
        if step < self._codebook_from:
            restored = restore(self._vq, unit)
            loss = careful_reconstruction_loss(restored, target)
        else:
            restored = restore(self._vq, unit + (entries - unit).detach())
            loss = careful_reconstruction_loss(restored, target) + _codebook_loss(unit, entries)
        if step >= self._judged_from:
            for_decoder, for_judge = adversarial_losses(self._judge, restored, target)
            ramp = min(1.0, (step - self._judged_from) / 300)
            loss = loss + ADVERSARIAL_WEIGHT * ramp * for_decoder + for_judge
        used = torch.bincount(codes.flatten(), minlength=CODES)
        self._look_after(used, unit, step + 1)
        return loss, {"psnr": _psnr(restored, target), "codes used": float((used > 0).float().mean())}

    def _look_after(self, used: torch.Tensor, unit: torch.Tensor, step: int) -> None:
        self._seen += used
        if step == self._codebook_from:
            _revive(self._vq, torch.ones_like(self._seen, dtype=torch.bool), unit)
        if step % REVIVE_EVERY == 0:
            if self._codebook_from < step < self._revived_until:
                _revive(self._vq, self._seen == 0, unit)
            self._seen.zero_()


def vq_folder(context: Context) -> Path:
    """Where the trained tokenizer lies."""
    return context.assets / FOLDER


@torch.no_grad()
def _fresh() -> JanusVQVAE:
    """An untrained tokenizer, its weights keeping the signal's size: the library's own let it shrink at every level."""
    vq = JanusVQVAE(vq_config(width=64))
    for module in vq.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            torch.nn.init.zeros_(module.bias)
        if isinstance(module, JanusVQVAEResnetBlock):
            module.conv2.weight.mul_(0.3)
    vq.quantize.embedding.weight.copy_(F.normalize(torch.randn(CODES, CODE_WIDTH), dim=-1))
    return vq


def _codebook_loss(unit: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    """Squared distances: entries move to the vectors that take them, vectors move, less, to their entries."""
    to_vectors = (entries - unit.detach()).square().sum(-1).mean()
    return to_vectors + COMMITMENT * (unit - entries.detach()).square().sum(-1).mean()


@torch.no_grad()
def _revive(vq: JanusVQVAE, dead: torch.Tensor, unit: torch.Tensor) -> None:
    """Put codes that nothing has taken onto vectors that pictures have."""
    found = unit.detach().flatten(0, 2)
    chosen = torch.randint(0, len(found), (int(dead.sum()),), device=found.device)
    vq.quantize.embedding.weight.data[dead] = found[chosen]


def _pictures(pool: Pool, step: int) -> np.ndarray:
    """Whole pictures, or crops whose centres lean towards the middle, where the object is."""
    rng = step_rng("janus-vq", step)
    if step % WHOLE_EVERY == 0:
        return pool.images(rng.integers(0, len(pool), BATCH // 2))[:, 0]
    images = pool.images(rng.integers(0, len(pool), BATCH))[:, 0]
    rows, columns = np.clip(rng.normal(32, 18, (2, BATCH)), 0, 64).astype(int)
    return np.stack(
        [images[i, r : r + CROP, c : c + CROP] for i, (r, c) in enumerate(zip(rows, columns, strict=True))]
    )
