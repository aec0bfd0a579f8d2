"""The encoder itself: an open_clip model of 2.5M parameters, its folder, and its contrastive loss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from ragdemo.models.encoder import CONFIG_FILE
from ragdemo.training.encoder_texts import END, PAD, START
from ragdemo.world.render import SIZE

EMBED_DIM = 128
CONTEXT = 32
WEIGHTS_FILE = "open_clip_model.safetensors"
MAX_SCALE = 50.0
VISION: dict[str, Any] = {"image_size": SIZE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64}
TEXT: dict[str, Any] = {
    "width": 192,
    "heads": 3,
    "layers": 2,
    "pool_type": "eos",
    "hf_tokenizer_name": "local",
}


def model_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """The arguments of `open_clip.CLIP`: a residual network for pictures, two transformer layers for texts."""
    ids = {"eos_id": tokenizer.token_to_id(END), "pad_id": tokenizer.token_to_id(PAD)}
    text = {**TEXT, **ids, "context_length": CONTEXT, "vocab_size": tokenizer.get_vocab_size()}
    return {"embed_dim": EMBED_DIM, "vision_cfg": VISION, "text_cfg": text}


def new_model(tokenizer: Tokenizer) -> open_clip.CLIP:
    """An untrained model, its images channels last."""
    model = open_clip.CLIP(**model_config(tokenizer))
    model.visual.to(memory_format=torch.channels_last)
    return model


def save_encoder(folder: Path, model: open_clip.CLIP, tokenizer: Tokenizer, words: Sequence[str]) -> None:
    """Write what `local-dir:` loads: configuration, fp16 weights, tokenizer; and the words of the captions."""
    folder.mkdir(parents=True, exist_ok=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=START, eos_token=END, model_max_length=CONTEXT
    ).save_pretrained(folder)
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    config = {"model_cfg": model_config(tokenizer), "preprocess_cfg": preprocess}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "known_words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    state = {key: (v.half() if v.is_floating_point() else v) for key, v in model.state_dict().items()}
    save_file({key: value.cpu().contiguous() for key, value in state.items()}, folder / WEIGHTS_FILE)


def load_model(folder: Path) -> tuple[open_clip.CLIP, Tokenizer]:
    """The model in float32 and its tokenizer, to train on."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = new_model(tokenizer)
    model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return model, tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], device: torch.device) -> torch.Tensor:
    """int64 `(N, T)`, padded to the longest text, which is cut at `CONTEXT` tokens."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    end = tokenizer.token_to_id(END)
    rows = [row if len(row) <= CONTEXT else [*row[: CONTEXT - 1], end] for row in rows]  # type: ignore[list-item]
    tokens = np.full((len(rows), max(map(len, rows))), tokenizer.token_to_id(PAD))
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(tokens).to(device)


def encode_texts(model: open_clip.CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """`model.encode_text` without the padding beyond the longest text: unit rows `(N, D)`."""
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]  # (N, T, width)
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    ends = (tokens == model.text_eos_id).int().argmax(1)
    return F.normalize(x[torch.arange(len(x)), ends] @ model.text_projection, dim=-1)


def clip_pixels(images: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Pictures with CLIP's mean and deviation: from uint8 `(N, H, W, 3)`, or float `(N, 3, H, W)` in [-1, 1]."""
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    mean, std = (
        torch.tensor(v, device=device).view(1, 3, 1, 1)
        for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    pixels = ((images.to(device) + 1) / 2 - mean) / std
    return pixels.contiguous(memory_format=torch.channels_last)


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, negative: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    """InfoNCE both ways; picture i and text j ≠ i compete only if `negative[i, j]`.

    Unit rows `(N, D)` each, the logarithm of the scale, bool `(N, N)`.
    """
    logits = scale.exp().clamp(max=MAX_SCALE) * images.float() @ texts.float().T  # (N, N)
    itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(~(negative | itself), float("-inf"))
    target = torch.arange(len(logits), device=logits.device)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    return loss, {"right": float((logits.detach().argmax(0) == target).float().mean())}
