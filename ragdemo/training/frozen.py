"""Models that training reads and never changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from ragdemo.training.hardware import autocast


def frozen(model: Any, device: torch.device) -> Any:
    """The model on a device, ready to be read; convolutions in the memory format that suits them."""
    is_convolutional = any(weight.dim() == 4 for weight in model.parameters())
    layout = torch.channels_last if is_convolutional else torch.preserve_format
    return model.to(device, memory_format=layout).eval().requires_grad_(False)


@torch.no_grad()
def text_states(tokenizer: CLIPTokenizer, text: CLIPTextModel, captions: Sequence[str]) -> torch.Tensor:
    """Captions to the states that a UNet reads, float32 `(B, 40, D)`."""
    tokens = tokenizer(list(captions), padding="max_length", truncation=True, return_tensors="pt").input_ids
    with autocast(text.device):
        states: torch.Tensor = text(tokens.to(text.device)).last_hidden_state.float()
    return states
