"""Stage `janus-tokens`: pictures of a stream of their own, drawn once and kept as the tokenizer's codes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import JanusForConditionalGeneration
from transformers.models.janus.modeling_janus import JanusVQVAE

from ragdemo.models.janus import quantise
from ragdemo.training.export import waiting_or_shipped
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
        "tokenizer": weights_hash(tokenizer_folder(context)),
        "settings": constants(sys.modules[__name__]),
        "world": world_version(),
    }
    return context.workdir / "tokens" / f"janus-{key_of(inputs)}"


def tokenizer_folder(context: Context) -> Path:
    """Where the trained tokenizer lies: in a folder of its own, else in the Janus that it has become part of."""
    folder = vq_folder(context)
    return folder if folder.is_dir() else janus_folder(context)


def janus_folder(context: Context) -> Path:
    """Where a Janus lies: the one that waits for more training, else the shipped one."""
    return waiting_or_shipped(context.assets, "janus")


def open_tokenizer(context: Context) -> JanusVQVAE:
    """The trained tokenizer, ready to encode."""
    folder = tokenizer_folder(context)
    vq: JanusVQVAE = (
        JanusVQVAE.from_pretrained(folder, dtype=torch.float32)
        if folder == vq_folder(context)
        else JanusForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).model.vqmodel
    )
    return vq.to(context.device, memory_format=torch.channels_last).eval()


@torch.inference_mode()
def encode(vq: JanusVQVAE, pixels: np.ndarray, device: torch.device, together: int = 32) -> np.ndarray:
    """The codes, uint16 `(N, 256)`, of pictures uint8 `(N, 128, 128, 3)`, some at a time for the memory's sake."""
    parts = [pixels[i : i + together] for i in range(0, len(pixels), together)]
    codes = [quantise(vq, to_tensor(part, device))[2].flatten(1).cpu().numpy() for part in parts]
    return np.concatenate(codes).astype(np.uint16)
