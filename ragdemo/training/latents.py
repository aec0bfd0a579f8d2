"""Stage `diffusion-latents`: what the diffusion base trains on, drawn once and kept as latents and reference states.

Reference states are kept in eight bits with a scale a token: 13 KB a picture, which has 49 KB of pixels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from transformers import CLIPVisionModelWithProjection

from ragdemo.training import names, outlines, rendering
from ragdemo.training.frozen import frozen
from ragdemo.training.hardware import autocast
from ragdemo.training.image_encoder import clip_pixels, hidden_states
from ragdemo.training.keys import constants, key_of
from ragdemo.training.loop import Context
from ragdemo.training.outlines import upright
from ragdemo.training.rendering import pair, single
from ragdemo.training.shards import Shards, write_shards
from ragdemo.training.vae import to_tensor
from ragdemo.world.sampling import Sample, duo_sample
from ragdemo.world.version import world_version

COUNT = 200_000
DUO_SHARE = 0.25
SHARD = 500
SETS: dict[str, Callable[[str, int], Sequence[Sample]]] = {
    "singles": single,
    "pairs": pair,
    "duos": duo_sample,
}


class Encoders:
    """The frozen models that pictures are kept by: the autoencoder's encoder and the adapter's vision model."""

    def __init__(self, context: Context) -> None:
        self.device = context.device
        vae = AutoencoderTiny.from_pretrained(context.assets / "diffusion" / "vae", torch_dtype=torch.float32)
        self.vae = frozen(vae, self.device)
        self.scaling: float = vae.config.scaling_factor
        folder = context.assets / "ip_adapter" / "models" / "image_encoder"
        vision = CLIPVisionModelWithProjection.from_pretrained(folder, dtype=torch.float32)
        self.vision = frozen(vision, self.device)

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Pictures uint8 `(N, P, 128, 128, 3)` to latents `(N, P, 8, 16, 16)`, states `(N, P, 65, D)` and scales."""
        images = pixels.reshape(-1, *pixels.shape[2:])
        with autocast(self.device):
            latents = self.vae.encode(to_tensor(images, self.device)).latents.float() * self.scaling
            states, scales = quantise_states(
                hidden_states(self.vision, clip_pixels(images, self.device)).float()
            )
        arrays = {"latents": latents.half(), "states": states, "scales": scales}
        return {key: a.cpu().numpy().reshape(*pixels.shape[:2], *a.shape[1:]) for key, a in arrays.items()}


def train_latents(context: Context) -> None:
    """Draw and encode `context.count` singles and pairs (200,000 by default) and a quarter as many duos."""
    encoders, count = Encoders(context), context.count or COUNT
    for name, sample in SETS.items():
        describe = {"upright": lambda item: upright(item[0])} if name == "pairs" else {}
        write_shards(
            set_folder(context, encoders, name),
            f"train/latents/{name}",
            sample,
            int(count * DUO_SHARE) if name == "duos" else count,
            SHARD,
            encoders.encode,
            context.workers,
            describe,
        )


def open_set(context: Context, encoders: Encoders, name: str) -> Shards:
    """The pictures of a set that are there."""
    return Shards(set_folder(context, encoders, name))


def set_folder(context: Context, encoders: Encoders, name: str) -> Path:
    """Where a set is kept that these models encoded."""
    inputs = {
        "vae": encoders.vae.encoder,
        "scaling": encoders.scaling,
        "vision": encoders.vision,
        "settings": [SHARD, *(constants(m) for m in (sys.modules[__name__], rendering, outlines, names))],
        "world": world_version(),
    }
    return context.workdir / "latents" / f"{name}-{key_of(inputs)}"


def quantise_states(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """States `(…, D)` as int8 and, for each, the float16 scale that gives them back."""
    scales = (states.abs().amax(-1) / 127).clamp(min=1e-4).half()
    return (states / scales.float()[..., None]).round().clamp(-127, 127).to(torch.int8), scales


def restore_states(states: np.ndarray, scales: np.ndarray) -> torch.Tensor:
    """What `quantise_states` kept, float32."""
    return torch.from_numpy(states).float() * torch.from_numpy(scales).float()[..., None]
