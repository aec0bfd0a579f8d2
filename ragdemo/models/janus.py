"""A Janus of the transformers library behind `CodeGenerator`: its own `generate`, with one logits processor of ours."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor
from transformers import AutoProcessor, JanusForConditionalGeneration, LogitsProcessorList
from transformers.models.janus.modeling_janus import JanusVQVAE

from ragdemo.errors import UserError
from ragdemo.models.base import Drawing, Drawn, NoReference, Sampling, Steering, Step
from ragdemo.models.decoding import Previews, Sampler, Unsteered
from ragdemo.models.fingerprints import fingerprint
from ragdemo.models.loading import choose_device, number_format, reading
from ragdemo.models.streaming import Worker
from ragdemo.profiles import Spec

ENCODED_TOGETHER = 32


def quantise(vq: JanusVQVAE, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures `(B, 3, H, W)` to unit vectors, their codebook entries (both `(B, h, w, D)`) and codes `(B, h, w)`.

    Codes are nearest by cosine, as the original model takes them; the library's own search compares vectors that are
    not normalised, and agrees only with a codebook of unit vectors.
    """
    hidden = vq.quant_conv(vq.encoder(images)).float().permute(0, 2, 3, 1)
    unit, book = F.normalize(hidden, dim=-1), unit_codebook(vq)
    codes = (unit.detach() @ book.detach().T).argmax(-1)
    return unit, F.embedding(codes, book), codes


def restore(vq: JanusVQVAE, entries: Tensor) -> Tensor:
    """Codebook entries `(B, h, w, D)` to pictures `(B, 3, sh, sw)`."""
    grid = entries.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return vq.decoder(vq.post_quant_conv(grid.to(vq.post_quant_conv.weight.dtype))).float()


def unit_codebook(vq: JanusVQVAE) -> Tensor:
    """The codebook as float32 unit vectors `(V, D)`."""
    return F.normalize(vq.quantize.embedding.weight.float(), dim=-1)


class JanusTokenizer:
    """The picture tokenizer inside a Janus; see `ImageTokenizer`."""

    def __init__(self, vq: JanusVQVAE, side: int, weights: str) -> None:
        """`side` is that of a picture in pixels, `weights` the hash of the checkpoint."""
        self._vq, self._side = vq, side
        self.fingerprint = weights
        self.grid: int = vq.quantize.quant_state_dims[0]
        self.codebook = unit_codebook(vq).detach()

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        """See `ImageTokenizer.encode`."""
        parts = [images[i : i + ENCODED_TOGETHER] for i in range(0, len(images), ENCODED_TOGETHER)]
        found = [quantise(self._vq, self._pixels(part))[2].cpu().numpy().astype(np.uint16) for part in parts]
        return np.concatenate(found) if found else np.zeros((0, self.grid, self.grid), np.uint16)

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> Image.Image:
        """See `ImageTokenizer.decode`."""
        rows = torch.from_numpy(codes.astype(np.int64)).to(self.codebook.device)[None]
        pixels = restore(self._vq, F.embedding(rows, self.codebook))[0].clamp(-1, 1)
        return Image.fromarray((pixels.permute(1, 2, 0) + 1).mul(127.5).round().byte().cpu().numpy())

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        side = (self._side, self._side)
        fitted = [
            np.asarray(ImageOps.fit(one.convert("RGB"), side, Image.Resampling.LANCZOS)) for one in images
        ]
        weight = self._vq.quant_conv.weight
        pixels = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2).to(weight.device)
        return (pixels.to(weight.dtype) / 127.5 - 1).contiguous(memory_format=torch.channels_last)


class JanusGenerator:
    """Draws pictures code by code; one worker thread runs the model."""

    def __init__(self, model: JanusForConditionalGeneration, processor: Any, spec: Spec) -> None:
        self._model, self._processor, self._defaults = model, processor, spec.defaults
        config = model.config.vision_config
        self.tokenizer = JanusTokenizer(model.model.vqmodel, config.image_size, fingerprint(spec))
        self._worker = Worker("janus")

    def draw(self, drawing: Drawing[Any]) -> Generator[Step | Drawn, None, None]:
        """See `ImageGenerator.draw`; after every row of codes a step has a preview."""
        return self._worker.stream(
            lambda on_step: self._draw([drawing], Previews(self.tokenizer, on_step))[0]
        )

    def draw_many(self, drawings: Sequence[Drawing[Any]]) -> list[Drawn]:
        """See `ImageGenerator.draw_many`."""
        if len({drawing.shape for drawing in drawings}) > 1:
            raise ValueError("drawings of different shapes cannot be made together; group them by shape")
        return self._worker.run(lambda: self._draw(drawings, None)) if drawings else []

    def restore(self, image: Image.Image) -> Image.Image:
        """See `ImageGenerator.restore`."""
        return self._worker.run(lambda: self.tokenizer.decode(self.tokenizer.encode([image])[0]))

    @torch.inference_mode()
    def _draw(self, drawings: Sequence[Drawing[Any]], previews: Previews | None) -> list[Drawn]:
        with _steering(self._model, drawings) as steering:
            sampler = Sampler(
                drawings, self._completed(drawings[0].sampling), self.tokenizer.grid**2, steering, previews
            )
            self._model.generate(
                **self._inputs([drawing.prompt for drawing in drawings]),
                generation_mode="image",
                guidance_scale=1,
                do_sample=False,
                logits_processor=LogitsProcessorList([sampler]),
            )
            grids = sampler.codes.view(len(drawings), self.tokenizer.grid, -1).cpu().numpy().astype(np.uint16)
            extras = steering.extras(sampler.codes)
        return [
            Drawn(self.tokenizer.decode(grid), {"codes": grid, **extra})
            for grid, extra in zip(grids, extras, strict=True)
        ]

    def _inputs(self, prompts: Sequence[str]) -> Any:
        plain = [self._without_specials(prompt) for prompt in prompts]
        turns = [[{"role": "user", "content": [{"type": "text", "text": prompt}]}] for prompt in plain]
        texts = [self._processor.apply_chat_template(turn, add_generation_prompt=True) for turn in turns]
        inputs = self._processor(text=texts, generation_mode="image", padding=True, return_tensors="pt")
        return inputs.to(self._model.device)

    def _without_specials(self, prompt: str) -> str:
        """The prompt without what the tokenizer would take for the end of a turn or for a picture."""
        for token in self._processor.tokenizer.all_special_tokens:
            prompt = prompt.replace(token, " ")
        return prompt

    def _completed(self, sampling: Sampling) -> Sampling:
        """The sampling with the profile's own values for what is left open."""
        guidance, temperature = sampling.guidance_scale, sampling.temperature
        return Sampling(
            guidance_scale=self._defaults["guidance_scale"] if guidance is None else guidance,
            temperature=self._defaults["temperature"] if temperature is None else temperature,
        )


def _steering(model: JanusForConditionalGeneration, drawings: Sequence[Drawing[Any]]) -> Steering:
    first = drawings[0].condition
    if isinstance(first, NoReference):
        return Unsteered()
    if not hasattr(first, "steer"):
        raise UserError(
            f"This generator cannot draw under {type(first).__name__}; choose another profile or method."
        )
    return first.steer(model, [drawing.condition for drawing in drawings])


def load_janus(spec: Spec, device: str = "auto") -> JanusGenerator:
    """The Janus of a spec on `device`, from local files only; raises `UserError` if it is missing or damaged."""
    target = choose_device(device)
    with reading(spec.weights, spec.remedy):
        options = {"revision": spec.revision, "local_files_only": True}
        model = JanusForConditionalGeneration.from_pretrained(
            spec.weights, dtype=number_format(target, spec), **options
        )
        processor = AutoProcessor.from_pretrained(spec.weights, **options)
        model = model.to(target).eval()
        model.model.vqmodel.to(memory_format=torch.channels_last)
        return JanusGenerator(model, processor, spec)
