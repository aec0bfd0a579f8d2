"""Stage `image-encoder`: what the IP-Adapter encodes references with, a CLIP vision model and its resampler.

Both learn to classify the attributes of nameless and common species, one attribute per token; so the sixteen tokens
that reach the UNet describe a thing whatever its pose and scene. Rare and novel species are never shown.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ragdemo.training.export import write_card
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.text_encoder import CHOICES, KIND_LIST, WIDTH
from ragdemo.training.vae import PAIR_POOL
from ragdemo.training.words import ATTRIBUTES
from ragdemo.world.pool import Pool, render_pool
from ragdemo.world.sampling import pair_sample

BATCH = 64
TOKENS = 16
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
QUESTIONS = ("kind", *ATTRIBUTES)
RESAMPLER_FILE = "resampler.pt"


class ReferenceReader(nn.Module):
    """Vision model, resampler, and heads that are discarded after training."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = new_vision_model()
        self.resampler = new_resampler()
        sizes = {"kind": len(KIND_LIST), **{key: len(values) for key, values in CHOICES.items()}}
        self.heads = nn.ModuleDict({key: nn.Linear(WIDTH, sizes[key]) for key in QUESTIONS})

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Pixels `(B, 3, 128, 128)`, CLIP-normalised; logits by question, read from the resampler's first tokens."""
        tokens = self.resampler(hidden_states(self.vision, pixels))  # (B, 16, D)
        return {
            key: head(tokens[:, i] + tokens[:, i + len(QUESTIONS)])
            for i, (key, head) in enumerate(self.heads.items())
        }


def new_vision_model() -> CLIPVisionModelWithProjection:
    """An untrained vision model; IP-Adapter Plus reads its last layer but one, so the last one is unused."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=3 * WIDTH,
            projection_dim=32,
            num_hidden_layers=5,
            num_attention_heads=3,
            image_size=128,
            patch_size=16,
        )
    )


def new_resampler() -> IPAdapterPlusImageProjection:
    """An untrained resampler of the published layout: 4 layers, 16 tokens."""
    return IPAdapterPlusImageProjection(
        embed_dims=WIDTH,
        output_dims=WIDTH,
        hidden_dims=WIDTH,
        depth=4,
        dim_head=64,
        heads=WIDTH // 64,
        num_queries=TOKENS,
    )


def hidden_states(vision: CLIPVisionModelWithProjection, pixels: torch.Tensor) -> torch.Tensor:
    """The states that IP-Adapter Plus reads: `(B, 65, D)`, without running the last layer."""
    model = getattr(vision, "vision_model", vision)
    states = model.pre_layrnorm(model.embeddings(pixels))
    for layer in model.encoder.layers[:-1]:
        states = layer(states, None)
        states = states[0] if isinstance(states, tuple) else states
    return states


def clip_pixels(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 `(N, H, W, 3)` to CLIP-normalised float32 `(N, 3, H, W)`."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return (tensor - mean) / std


def attribute_targets(looks: list[dict[str, str]]) -> dict[str, torch.Tensor]:
    """Class indices `(N,)` by question."""
    targets = {key: [CHOICES[key].index(look[key]) for look in looks] for key in ATTRIBUTES}
    return {
        key: torch.tensor(v)
        for key, v in {"kind": [KIND_LIST.index(k["kind"]) for k in looks], **targets}.items()
    }


def train_image_encoder(context: Context) -> None:
    """Train on the pairs' pictures; write `ip_adapter/models/image_encoder` and the resampler's first state."""
    pool = render_pool(PAIR_POOL, context.pools, context.workers)
    torch.manual_seed(0)
    reader = ReferenceReader()
    loop = Loop("image-encoder", context, {"reader": reader}, steps=20_000, learning_rate=7e-4, warmup=300)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        pixels, targets = _batch(pool, step_rng("image-encoder", step), context.device)
        with autocast(context.device):
            logits = reader(pixels)
        loss = sum(F.cross_entropy(logits[key].float(), targets[key]) for key in QUESTIONS)
        hits = {key: float((logits[key].argmax(-1) == targets[key]).float().mean()) for key in QUESTIONS}
        return loss, hits

    loop.run(step_loss)
    reader = loop.averaged["reader"]
    figures = measure_seeing(reader, context.device)
    folder = context.assets / "ip_adapter" / "models" / "image_encoder"
    torch.save(reader.resampler.state_dict(), context.workdir / RESAMPLER_FILE)
    reader.vision.half().save_pretrained(folder)
    write_card(folder, {"data": PAIR_POOL.folder, **loop.card(), "figures": figures})


@torch.inference_mode()
def measure_seeing(reader: ReferenceReader, device: torch.device) -> dict[str, float]:
    """Shares of attributes classified correctly in 512 fresh pictures."""
    samples = [sample for i in range(256) for sample in pair_sample("validate/pairs", i)]
    images = np.stack([np.asarray(sample.image()) for sample in samples])
    targets = attribute_targets([asdict(sample.picture.looks[0]) for sample in samples])
    logits = reader(clip_pixels(images, device))
    hits = {key: (logits[key].argmax(-1).cpu() == targets[key]).float().mean() for key in QUESTIONS}
    return {key: round(float(value), 4) for key, value in hits.items()}


def _batch(
    pool: Pool, rng: np.random.Generator, device: torch.device
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    indices, which = rng.integers(0, len(pool), BATCH), rng.integers(0, 2, BATCH)
    images = pool.images(indices)[np.arange(BATCH), which]
    gain = rng.uniform(0.85, 1.15, (BATCH, 1, 1, 1))
    images = np.clip(images * gain, 0, 255).astype(np.uint8)
    targets = attribute_targets([pool.rows[i][j]["looks"][0] for i, j in zip(indices, which, strict=True)])
    return clip_pixels(images, device), {key: value.to(device) for key, value in targets.items()}
