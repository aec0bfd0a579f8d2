"""A diffusers pipeline that draws in one step, behind `OneStepGenerator`: an SD-Turbo, or a student of its class.

It is the pipeline of any diffusion model, asked for one step without guidance; a student that predicts x0 says so in
its scheduler. The prompt is read once: the same states go into the UNet and, averaged, into the search for captions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents
from PIL import Image, ImageOps
from torch import Tensor

from ragdemo.models.base import Drawing, Drawn
from ragdemo.models.diffusion import DiffusersGenerator, lay_out, open_pipeline
from ragdemo.models.features import unet_features
from ragdemo.models.fingerprints import fingerprint
from ragdemo.models.loading import choose_device
from ragdemo.models.streaming import OnStep
from ragdemo.profiles import Spec

READ_TOGETHER = 64
MOST_READ = 16
"""Prompts whose states are kept: one is read to search and to draw twice."""


class OneStepDiffusers(DiffusersGenerator):
    """See `OneStepGenerator`."""

    def __init__(self, pipe: DiffusionPipeline, spec: Spec) -> None:
        super().__init__(pipe, spec)
        self.fingerprint = fingerprint(spec)
        self.levels = ("mid_block", *(f"up_blocks.{i}" for i in range(len(pipe.unet.up_blocks))))
        self._read: dict[str, Tensor] = {}

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """See `OneStepGenerator.embed_texts`."""
        parts = [list(texts[i : i + READ_TOGETHER]) for i in range(0, len(texts), READ_TOGETHER)]
        found = [self._worker.run(partial(self._means, part)) for part in parts]
        return np.concatenate(found)

    def features(self, image: Image.Image, caption: str, levels: Sequence[str]) -> dict[str, np.ndarray]:
        """See `OneStepGenerator.features`; a picture that is not square is cropped to its middle."""
        return self._worker.run(lambda: self._features(image, caption, levels))

    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Pictures in the scale of the UNet, float16 `(N, c, h, w)`, cropped to their middle if they are not square."""
        return self._worker.run(lambda: self._latents(images).half().cpu().numpy())

    @torch.inference_mode()
    def _draw(self, drawings: Sequence[Drawing[Any]], on_step: OnStep) -> list[Drawn]:
        clock = _Clock(self._pipe.device)
        states = self._states([drawing.prompt for drawing in drawings])
        clock.lap("encode")
        text = {"prompt": None, "prompt_embeds": states, "output_type": "latent"}
        latents = self._drawn(drawings, on_step, **text)
        clock.lap("UNet")
        pixels = self._pipe.vae.decode(latents / self._pipe.vae.config.scaling_factor).sample
        images = self._pipe.image_processor.postprocess(pixels)
        clock.lap("decode")
        return [Drawn(image, {"timings": clock.seconds}) for image in images]

    def _states(self, texts: Sequence[str]) -> Tensor:
        """The text encoder's states `(B, T, D)`, as the pipeline itself would read them."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._read]
        fresh = dict(zip(missing, self._encoded(self._tokens(missing)), strict=True)) if missing else {}
        known = self._read | fresh
        self._read = dict(list(known.items())[-MOST_READ:])
        return torch.stack([known[text] for text in texts])

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        tokenizer, length = self._pipe.tokenizer, self._pipe.tokenizer.model_max_length
        options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
        return tokenizer(list(texts), **options).input_ids

    def _encoded(self, tokens: Tensor) -> Tensor:
        return self._pipe.text_encoder(tokens.to(self._pipe.device))[0].to(self._pipe.unet.dtype)

    @torch.inference_mode()
    def _means(self, texts: Sequence[str]) -> np.ndarray:
        tokens = self._tokens(texts)
        # one text alone is a prompt: it is drawn as well
        states = self._states(texts) if len(texts) == 1 else self._encoded(tokens)
        ends = (tokens == self._pipe.tokenizer.eos_token_id).int().argmax(1)
        inside = (torch.arange(tokens.shape[1])[None] <= ends[:, None])[..., None].to(states.device)
        means = (states.float() * inside).sum(1) / inside.sum(1)
        return F.normalize(means, dim=-1).cpu().numpy()

    @torch.inference_mode()
    def _features(self, image: Image.Image, caption: str, levels: Sequence[str]) -> dict[str, np.ndarray]:
        found = unet_features(self._pipe.unet, self._latents([image]), 0, self._states([caption]), levels)
        return {level: found[level][0].half().cpu().numpy() for level in levels}

    @torch.inference_mode()
    def _latents(self, images: Sequence[Image.Image]) -> Tensor:
        pipe, side = self._pipe, self._pipe.unet.config.sample_size * self._pipe.vae_scale_factor
        squares = [ImageOps.fit(one.convert("RGB"), (side, side), Image.Resampling.LANCZOS) for one in images]
        pixels = pipe.image_processor.preprocess(squares).to(pipe.device, pipe.vae.dtype)
        latents = retrieve_latents(pipe.vae.encode(pixels), sample_mode="argmax")
        return (latents * pipe.vae.config.scaling_factor).to(pipe.unet.dtype)


class _Clock:
    """Seconds by part, each from the end of the one before."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._last = self._now()

    def lap(self, name: str) -> None:
        """A part has ended."""
        now = self._now()
        self.seconds[name], self._last = now - self._last, now

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def load_one_step(spec: Spec, device: str = "auto") -> OneStepDiffusers:
    """The generator of a spec on `device`, from local files only; raises `UserError` if it is missing or damaged."""
    target = choose_device(device)
    pipe = open_pipeline(spec, target)
    lay_out(pipe, target)
    return OneStepDiffusers(pipe, spec)
