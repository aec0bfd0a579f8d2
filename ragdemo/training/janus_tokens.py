"""Stage `janus-tokens`: pictures of a stream of their own, drawn once and kept as the tokenizer's codes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers.models.janus.modeling_janus import JanusVQVAE

from ragdemo.models.janus import quantise
from ragdemo.training.janus_vq import vq_folder
from ragdemo.training.keys import constants, key_of
from ragdemo.training.loop import Context
from ragdemo.training.rendering import single
from ragdemo.training.shards import write_shards
from ragdemo.training.vae import to_tensor
from ragdemo.weights import weights_hash
from ragdemo.world.version import world_version

STREAM = "train/janus"
SHARD = 1_000


def train_janus_tokens(context: Context) -> None:
    """Draw `context.count` pictures (200,000 by default) and keep their codes; whole shards are not made again."""
    vq, count = open_tokenizer(context), context.count or 200_000

    def encoded(pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {"codes": encode(vq, pixels[:, 0], context.device)}

    write_shards(token_folder(context), STREAM, single, count, SHARD, encoded, context.workers)


def token_folder(context: Context) -> Path:
    """Where the codes of this tokenizer's pictures are kept."""
    inputs = {
        "tokenizer": weights_hash(vq_folder(context)),
        "settings": constants(sys.modules[__name__]),
        "world": world_version(),
    }
    return context.workdir / "tokens" / f"janus-{key_of(inputs)}"


def open_tokenizer(context: Context) -> JanusVQVAE:
    """The trained tokenizer, ready to encode."""
    vq = JanusVQVAE.from_pretrained(vq_folder(context), dtype=torch.float32)
    return vq.to(context.device, memory_format=torch.channels_last).eval()


@torch.inference_mode()
def encode(vq: JanusVQVAE, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    """The codes, uint16 `(N, 256)`, of pictures uint8 `(N, 128, 128, 3)`."""
    codes: np.ndarray = quantise(vq, to_tensor(pixels, device))[2].flatten(1).cpu().numpy()
    return codes.astype(np.uint16)
