"""Drawing codes one after the other inside a library's own loop: what happens between two of its logits.

The loop of transformers knows neither a seed per picture nor the codes drawn so far, so `Sampler` keeps the codes, does
guidance and temperature, lets a condition change the distribution, and samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import LogitsProcessor

from ragdemo.models.base import Drawing, ImageTokenizer, NoReference, Sampling, Steering, Step
from ragdemo.models.streaming import OnStep

PREVIEW_CONTEXT = 1
"""Rows of codes above the new one that are decoded along with it for a preview."""


class Sampler(LogitsProcessor):
    """Guides, steers and samples; returns one-hot rows, so that the library's greedy choice takes what was sampled.

    A picture's noise comes from a generator of its own on the CPU: it depends neither on the batch nor on the device.
    """

    def __init__(
        self,
        drawings: Sequence[Drawing[Any]],
        sampling: Sampling,
        length: int,
        steering: Steering,
        previews: Previews | None = None,
    ) -> None:
        self._guidance, self._temperature = sampling.guidance_scale or 0.0, sampling.temperature or 0.0
        self._noise = [torch.Generator("cpu").manual_seed(drawing.seed) for drawing in drawings]
        self._prefixes = [
            () if isinstance(d.condition, NoReference) else tuple(d.condition.prefix) for d in drawings
        ]
        self._steering, self._previews = steering, previews
        self._position = 0
        self.codes = torch.zeros(len(drawings), length, dtype=torch.long)
        steering.prepare(0, self.codes)

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits of the next code, `(2B, V)` with the unconditional rows last, to one-hot rows `(B, V)`."""
        given, withheld = scores.chunk(2)
        logits = withheld + self._guidance * (given - withheld)
        probabilities = self._steering.mix(self._position, self._distribution(logits))
        chosen = self._sample(probabilities)
        self.codes = self.codes.to(chosen.device)
        self.codes[:, self._position] = chosen
        self._position += 1
        if self._previews is not None:
            self._previews.show(self.codes[0], self._position)
        if self._position < self.codes.shape[1]:
            self._steering.prepare(self._position, self.codes)
        return F.one_hot(chosen, scores.shape[1]).to(scores.dtype)

    def _distribution(self, logits: Tensor) -> Tensor:
        """Temperature 0 is the likeliest code."""
        if self._temperature == 0:
            return F.one_hot(logits.argmax(-1), logits.shape[1]).to(logits.dtype)
        precise = logits if logits.dtype == torch.float64 else logits.float()
        return (precise / self._temperature).softmax(-1)

    def _sample(self, probabilities: Tensor) -> Tensor:
        """One code a row: that of the greatest probability divided by exponential noise (the Gumbel-max trick)."""
        noise = torch.stack(
            [torch.empty(probabilities.shape[1]).exponential_(generator=g) for g in self._noise]
        )
        chosen = (probabilities / noise.to(probabilities)).argmax(-1)
        for row, prefix in enumerate(self._prefixes):
            if self._position < len(prefix):
                chosen[row] = prefix[self._position]
        return chosen


class Previews:
    """Reports each code of a picture, and at the end of each row the picture so far; only new rows are decoded."""

    def __init__(self, tokenizer: ImageTokenizer, on_step: OnStep) -> None:
        self._tokenizer, self._on_step = tokenizer, on_step
        self._picture: Image.Image | None = None

    def show(self, codes: Tensor, done: int) -> None:
        """`codes` `(grid²)` of which `done` are drawn."""
        rows, rest = divmod(done, self._tokenizer.grid)
        is_preview = rest == 0 and done < len(codes)
        preview = self._extended(codes.view(self._tokenizer.grid, -1), rows) if is_preview else None
        self._on_step(Step(done, len(codes), preview))

    def _extended(self, grid: Tensor, rows: int) -> Image.Image:
        above = min(PREVIEW_CONTEXT, rows - 1)
        strip = self._tokenizer.decode(grid[rows - 1 - above : rows].cpu().numpy())
        height = strip.height // (above + 1)
        before = self._picture or Image.new("RGB", (strip.width, strip.width), (128, 128, 128))
        self._picture = before.copy()
        self._picture.paste(
            strip.crop((0, height * above, strip.width, strip.height)), (0, height * (rows - 1))
        )
        return self._picture


class Unsteered:
    """The steering of plain drawings: none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def prepare(self, position: int, codes: Tensor) -> None:
        """See `Steering.prepare`."""

    def mix(self, _position: int, probabilities: Tensor) -> Tensor:
        """See `Steering.mix`."""
        return probabilities

    def extras(self, codes: Tensor) -> Sequence[Mapping[str, Any]]:
        """See `Steering.extras`."""
        return [{} for _ in codes]
