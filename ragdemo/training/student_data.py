"""What the one-step student and its adapter learn from: the teacher's pairs as batches of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from ragdemo.errors import UserError
from ragdemo.training.diffusion import new_scheduler
from ragdemo.training.frozen import frozen, text_states
from ragdemo.training.loop import Context
from ragdemo.training.student_pairs import Pairs, noise_of, pairs_folder
from ragdemo.weights import weights_hash


@dataclass(frozen=True)
class Batch:
    """`noise` and `target` `(B, c, h, w)`, `states` `(B, T, D)`; the same of what was retrieved, if anything was.

    `vision` `(B, V)` is what the image encoder sees in the retrieved pictures, `similarity` `(B,)` their λ.
    """

    noise: Tensor
    target: Tensor
    states: Tensor
    retrieved: Tensor | None
    retrieved_states: Tensor
    vision: Tensor
    similarity: Tensor


class StudentData:
    """The pairs of the shipped teacher, with the frozen models that batches are made with."""

    def __init__(self, context: Context) -> None:
        """Raises `UserError` if there are no pairs of this teacher."""
        folder, diffusion = pairs_folder(context), context.assets / "diffusion"
        if not any(folder.glob("[0-9]*.npy")):
            raise UserError(
                f"There are no pairs of this teacher in {folder}; run the stage student-pairs first."
            )
        self._pairs, self._device = Pairs(folder), context.device
        self._folder = folder.name
        self._tokenizer = CLIPTokenizer.from_pretrained(diffusion / "tokenizer")
        text = CLIPTextModel.from_pretrained(diffusion / "text_encoder", dtype=torch.float32)
        self._text = frozen(text, context.device)
        unet = UNet2DConditionModel.from_pretrained(diffusion / "unet", torch_dtype=torch.float32)
        self.teacher_unet = frozen(unet, context.device)
        self.noise_levels: Tensor = new_scheduler().alphas_cumprod.to(context.device)
        self.inputs = {"pairs": folder.name, "count": len(self._pairs), "teacher": weights_hash(diffusion)}

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def vision_width(self) -> int:
        """Numbers in `Batch.vision`."""
        return self._pairs.library.vision.shape[-1]

    @property
    def library_latents(self) -> Tensor:
        """Of the library's pictures `(N, c, h, w)`."""
        return self._tensor(self._pairs.library.latents)

    @property
    def library_rows(self) -> list[dict]:
        """What describes them."""
        return self._pairs.library.rows

    def batch(self, rng: np.random.Generator, size: int, is_paired: bool) -> Batch:
        """Random pairs, of words alone or with what was retrieved for them."""
        chosen = rng.choice(self._pairs.paired if is_paired else self._pairs.plain, size)
        rows, library = [self._pairs.rows[i] for i in chosen], self._pairs.library
        target = self._tensor(self._pairs.latents[chosen])
        noise = noise_of([row["seed"] for row in rows], target.shape[1:]).to(target)
        found = [row["entry"] for row in rows] if is_paired else []
        return Batch(
            noise.contiguous(memory_format=torch.channels_last),
            target,
            self._states([row["caption"] for row in rows]),
            self._tensor(library.latents[found]) if is_paired else None,
            self._states([library.captions[i] for i in found]) if is_paired else target.new_zeros(0),
            self._tensor(library.vision[found]),
            torch.tensor([row["similarity"] for row in rows], device=target.device),
        )

    def no_words(self, count: int) -> Tensor:
        """The states of an empty caption, `count` times."""
        return self._states([""]).expand(count, -1, -1)

    def _states(self, captions: list[str]) -> Tensor:
        return text_states(self._tokenizer, self._text, captions)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).float().to(self._device)
