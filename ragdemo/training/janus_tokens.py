"""Stage `janus-tokens`: pictures of a stream of their own, drawn once and kept as the tokenizer's codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers.models.janus.modeling_janus import JanusVQVAE

from ragdemo.models.janus import quantise
from ragdemo.training.cache import save_array
from ragdemo.training.janus_vq import vq_folder
from ragdemo.training.keys import constants, key_of
from ragdemo.training.loop import Context
from ragdemo.training.rendering import rendered, single
from ragdemo.training.vae import to_tensor
from ragdemo.weights import weights_hash
from ragdemo.world.pool import describe_sample
from ragdemo.world.sampling import generator_sample
from ragdemo.world.version import world_version

STREAM = "train/janus"
SHARD = 1_000


def train_janus_tokens(context: Context) -> None:
    """Draw `context.count` pictures (200,000 by default) and keep their codes; whole shards are not made again."""
    folder = token_folder(context)
    folder.mkdir(parents=True, exist_ok=True)
    vq, count = open_tokenizer(context), context.count or 200_000
    shards = [range(start, min(start + SHARD, count)) for start in range(0, count, SHARD)]
    missing = [shard for shard in shards if not _file(folder, shard).exists()]
    for shard, parts in rendered(single, STREAM, missing, context.workers):
        codes = [encode(vq, part[:, 0], context.device) for part in parts]
        rows = json.dumps([describe_sample(generator_sample(STREAM, i)) for i in shard])
        _file(folder, shard).with_suffix(".json").write_text(rows, encoding="utf-8")
        save_array(_file(folder, shard), np.concatenate(codes))
        print(f"janus-tokens {shard.stop}/{count}", flush=True)


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


class Tokens:
    """The shards that are there: codes uint16 `(N, 256)` and the rows that describe their pictures."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.npy"))
        self.codes = np.concatenate([np.load(file) for file in files])
        self.rows = [row for file in files for row in json.loads(file.with_suffix(".json").read_text())]

    def __len__(self) -> int:
        return len(self.codes)


def _file(folder: Path, shard: range) -> Path:
    return folder / f"{shard.start:07d}.npy"


@torch.inference_mode()
def encode(vq: JanusVQVAE, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    """The codes, uint16 `(N, 256)`, of pictures uint8 `(N, 128, 128, 3)`."""
    codes: np.ndarray = quantise(vq, to_tensor(pixels, device))[2].flatten(1).cpu().numpy()
    return codes.astype(np.uint16)
