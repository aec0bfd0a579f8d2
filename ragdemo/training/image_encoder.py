"""Stage `image-encoder`: what the IP-Adapter encodes references with, a CLIP vision model and its resampler.

Both learn the attributes of nameless and common species, one attribute per token, and to draw a thing upright; so the
sixteen tokens that reach the UNet describe a thing whatever its pose and scene. Rare and novel species are never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ragdemo.training import names, outlines, rendering
from ragdemo.training.export import write_card
from ragdemo.training.keys import constants, key_of
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.outlines import UPRIGHT, upright
from ragdemo.training.rendering import pair
from ragdemo.training.shards import Shards, write_shards
from ragdemo.training.text_encoder import CHOICES, KIND_LIST, UNKNOWN, WIDTH
from ragdemo.training.words import ATTRIBUTES
from ragdemo.world.kinds import KINDS
from ragdemo.world.sampling import pair_sample
from ragdemo.world.version import world_version

BATCH = 64
TOKENS = 16
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
QUESTIONS = ("kind", *ATTRIBUTES)
READER_FILE = "reference-reader.pt"
STREAM = "train/references"
PAIRS = 40_000
SHARD = 500


class TokenReader(nn.Module):
    """What the adapter's tokens must tell of a thing: heads that are discarded after training.

    The last one draws the thing upright (`outlines.upright`), so that outlines of no kind are learned too.
    """

    def __init__(self) -> None:
        super().__init__()
        sizes = {"kind": len(KIND_LIST), **{key: len(values) for key, values in CHOICES.items()}}
        self.heads = nn.ModuleDict({key: nn.Linear(WIDTH, sizes[key]) for key in QUESTIONS})
        self.upright = nn.Sequential(
            nn.Flatten(), nn.Linear(TOKENS * WIDTH, 384), nn.GELU(), nn.Linear(384, UPRIGHT * UPRIGHT * 3)
        )

    def forward(self, tokens: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Tokens `(B, 16, D)`; logits by question, read from the first tokens, and pictures `(B, 3·UPRIGHT²)`."""
        logits = {
            key: head(tokens[:, i] + tokens[:, i + len(QUESTIONS)])
            for i, (key, head) in enumerate(self.heads.items())
        }
        return logits, self.upright(tokens)

    def loss(
        self, tokens: torch.Tensor, targets: dict[str, torch.Tensor], upright: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Cross-entropy over what is known, ten times the mean error of the upright picture, and the shares of hits."""
        logits, drawn = self(tokens)
        error = F.l1_loss(drawn.float(), upright)
        loss, figures = 10 * error, {"upright": float(error.detach())}
        for key in QUESTIONS:
            known = targets[key] != UNKNOWN
            if known.any():
                answer, truth = logits[key].float()[known], targets[key][known]
                loss = loss + F.cross_entropy(answer, truth)
                figures[key] = float((answer.argmax(-1) == truth).float().mean())
        return loss, figures


class ReferenceReader(nn.Module):
    """Vision model and resampler, with the heads that teach them."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = new_vision_model()
        self.resampler = new_resampler()
        self.reader = TokenReader()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels `(B, 3, 128, 128)`, CLIP-normalised, to the adapter's tokens `(B, 16, D)`."""
        tokens: torch.Tensor = self.resampler(hidden_states(self.vision, pixels))
        return tokens


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


def attribute_targets(looks: Sequence[Mapping[str, str]]) -> dict[str, torch.Tensor]:
    """Class indices `(N,)` by question; a thing of no kind has neither kind nor shape (`UNKNOWN`)."""
    targets = {
        key: [
            UNKNOWN if key == "shape" and look["kind"] not in KINDS else CHOICES[key].index(look[key])
            for look in looks
        ]
        for key in ATTRIBUTES
    }
    kinds = [KIND_LIST.index(look["kind"]) if look["kind"] in KINDS else UNKNOWN for look in looks]
    return {key: torch.tensor(values) for key, values in {"kind": kinds, **targets}.items()}


def train_image_encoder(context: Context) -> None:
    """Train on pairs' pictures; write `ip_adapter/models/image_encoder` and, beside the states, resampler and heads."""
    references = _references(context)
    torch.manual_seed(0)
    reader = ReferenceReader()
    loop = Loop(
        "image-encoder",
        context,
        {"reader": reader},
        steps=20_000,
        learning_rate=7e-4,
        warmup=300,
        inputs={"pictures": references.folder.name, "count": len(references)},
    )

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        pixels, targets, upright = _batch(references, step_rng("image-encoder", step), context.device)
        with autocast(context.device):
            tokens = reader(pixels)
            loss, figures = reader.reader.loss(tokens, targets, upright)
        return loss, figures

    loop.run(step_loss)
    reader = loop.averaged["reader"]
    figures = measure_seeing(reader, context.device)
    folder = context.assets / "ip_adapter" / "models" / "image_encoder"
    parts = {"resampler": reader.resampler.state_dict(), "reader": reader.reader.state_dict()}
    torch.save(parts, context.workdir / READER_FILE)
    reader.vision.half().save_pretrained(folder)
    write_card(folder, {"data": f"{len(references)} pairs of {STREAM}", **loop.card(), "figures": figures})


@torch.inference_mode()
def measure_seeing(reader: ReferenceReader, device: torch.device) -> dict[str, float]:
    """Shares of attributes classified correctly in 512 fresh pictures of the world's kinds."""
    samples = [sample for i in range(256) for sample in pair_sample("validate/pairs", i)]
    images = np.stack([np.asarray(sample.image()) for sample in samples])
    targets = attribute_targets([asdict(sample.picture.looks[0]) for sample in samples])
    logits, _ = reader.reader(reader(clip_pixels(images, device)))
    hits = {key: (logits[key].argmax(-1).cpu() == targets[key]).float().mean() for key in QUESTIONS}
    return {key: round(float(value), 4) for key, value in hits.items()}


def upright_images(arrays: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 `(N, UPRIGHT, UPRIGHT, 3)` to what the heads draw: float32 `(N, 3·UPRIGHT²)` in [0, 1]."""
    return torch.from_numpy(arrays).to(device).flatten(1).float() / 255


def _references(context: Context) -> Shards:
    """The pairs that the stage trains on, drawn where they are missing."""
    inputs = {
        "settings": [STREAM, SHARD, *(constants(m) for m in (rendering, outlines, names))],
        "world": world_version(),
    }
    folder = context.pools / f"references-{key_of(inputs)}"
    write_shards(
        folder,
        STREAM,
        pair,
        context.count or PAIRS,
        SHARD,
        lambda pixels: {"pixels": pixels},
        context.workers,
        {"upright": lambda item: upright(item[0])},
    )
    return Shards(folder)


def _batch(
    references: Shards, rng: np.random.Generator, device: torch.device
) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
    indices, which = rng.integers(0, len(references), BATCH), rng.integers(0, 2, BATCH)
    images = references.array("pixels", indices)[np.arange(BATCH), which]
    gain = rng.uniform(0.85, 1.15, (BATCH, 1, 1, 1))
    images = np.clip(images * gain, 0, 255).astype(np.uint8)
    targets = attribute_targets([references.row(i)[0]["looks"][0] for i in indices])
    drawn = upright_images(references.array("upright", indices), device)
    return clip_pixels(images, device), {key: value.to(device) for key, value in targets.items()}, drawn
