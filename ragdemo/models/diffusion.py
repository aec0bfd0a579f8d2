"""A diffusers pipeline behind `ImageGenerator`, with an IP-Adapter if its spec names one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.models.base import Condition, Drawing, Drawn, ImageReferences, NoReference, Sampling, Step
from ragdemo.models.loading import choose_device, number_format, reading
from ragdemo.models.streaming import OnStep, Worker
from ragdemo.profiles import Spec


class DiffusersGenerator:
    """Draws with a pipeline whose IP-Adapter, if it has one, is attached only while references are given.

    A plain drawing therefore costs and shows what the pipeline without the adapter does. One worker thread runs the
    pipeline, so drawings never overlap.
    """

    def __init__(self, pipe: DiffusionPipeline, spec: Spec) -> None:
        """`pipe` has no adapter loaded yet; its weights are read here, as the spec's options name them."""
        self._pipe = pipe
        self._defaults = spec.defaults
        self._adapter = _Adapter(pipe, spec) if "adapter" in spec.options else None
        self._worker = Worker("diffusion")

    def draw(self, drawing: Drawing[Any]) -> Generator[Step | Drawn, None, None]:
        """See `ImageGenerator.draw`; the pipeline runs ahead of its consumer by at most the steps that it takes."""
        return self._worker.stream(lambda on_step: self._draw([drawing], on_step)[0])

    def draw_many(self, drawings: Sequence[Drawing[Any]]) -> list[Drawn]:
        """See `ImageGenerator.draw_many`."""
        if len({drawing.shape for drawing in drawings}) > 1:
            raise ValueError("drawings of different shapes cannot be made together; group them by shape")
        return self._worker.run(lambda: self._draw(drawings, lambda step: None)) if drawings else []

    def restore(self, image: Image.Image) -> Image.Image:
        """See `ImageGenerator.restore`."""
        return self._worker.run(lambda: self._restore(image.convert("RGB")))

    @torch.inference_mode()
    def _restore(self, image: Image.Image) -> Image.Image:
        vae, processor = self._pipe.vae, self._pipe.image_processor
        pixels = processor.preprocess(image).to(vae.device, vae.dtype)
        latents = retrieve_latents(vae.encode(pixels), sample_mode="argmax")
        return processor.postprocess(vae.decode(latents).sample)[0]

    def latents(self, drawings: Sequence[Drawing[Any]], noise: torch.Tensor) -> torch.Tensor:
        """What the pictures of drawings of one shape are decoded from, if they begin with `noise`.

        Both `(B, C, h, w)`, `noise` of unit variance, the result in the scale of the UNet.
        """
        begin = noise.to(self._pipe.device, self._pipe.unet.dtype)
        options = {"output_type": "latent", "latents": begin}
        return self._worker.run(lambda: self._drawn(drawings, lambda step: None, **options))

    def _draw(self, drawings: Sequence[Drawing[Any]], on_step: OnStep) -> list[Drawn]:
        return [Drawn(image) for image in self._drawn(drawings, on_step)]

    def _drawn(self, drawings: Sequence[Drawing[Any]], on_step: OnStep, **options: Any) -> Any:
        """What the pipeline makes of drawings of one shape; `options` are further arguments of it."""

        def report(pipe: DiffusionPipeline, index: int, _time: int, _tensors: dict) -> dict:
            on_step(Step(index + 1, pipe.num_timesteps))
            return {}

        sampling, conditions = self._completed(drawings[0].sampling), [one.condition for one in drawings]
        arguments: dict[str, Any] = {
            "prompt": [drawing.prompt for drawing in drawings],
            "num_inference_steps": sampling.steps,
            "guidance_scale": sampling.guidance_scale,
            # a CPU generator gives the same noise on every device
            "generator": [torch.Generator("cpu").manual_seed(drawing.seed) for drawing in drawings],
            "callback_on_step_end": report,
        }
        with self._attached(conditions):
            arguments |= self._conditions(conditions, sampling) | options
            return self._pipe(**arguments).images

    def _attached(self, conditions: Sequence[Condition]) -> AbstractContextManager[None]:
        """The context in which a batch's conditions act on the UNet, if they are of that kind."""
        first: Any = conditions[0]
        return first.attached(self._pipe.unet, conditions) if _acts_on_unet(first) else nullcontext()

    def _completed(self, sampling: Sampling) -> Sampling:
        """The sampling with the profile's own values for what is left open."""
        steps, guidance = sampling.steps, sampling.guidance_scale
        return Sampling(
            self._defaults["steps"] if steps is None else steps,
            self._defaults["guidance_scale"] if guidance is None else guidance,
        )

    def _conditions(self, conditions: Sequence[Condition], sampling: Sampling) -> dict[str, Any]:
        """Put the conditions of a batch in place; returns the pipeline's arguments for them."""
        references = [condition for condition in conditions if isinstance(condition, ImageReferences)]
        known = [one for one in conditions if isinstance(one, NoReference) or _acts_on_unet(one)]
        if len(known) + len(references) < len(conditions) or (references and self._adapter is None):
            name = type(conditions[0]).__name__
            raise UserError(f"This generator cannot draw under {name}; choose another profile or method.")
        if self._adapter is not None:
            self._adapter.attach(bool(references))
        if self._adapter is None or not references:
            return {}
        scale = references[0].scale
        self._pipe.set_ip_adapter_scale(self._defaults["reference_scale"] if scale is None else scale)
        guided = (sampling.guidance_scale or 0) > 1
        embeds = [self._embed(one.images, guided) for one in references]
        self._adapter.show(embeds)
        return {"ip_adapter_image_embeds": [embeds[0]]}  # the pipeline's own reading of it is not used

    @torch.inference_mode()
    def _embed(self, references: Sequence[Image.Image], guided: bool) -> torch.Tensor:
        """What the adapter reads of references: `(1, R, …)`; guided, `(2, R, …)` with blanks first."""
        images = [image.convert("RGB") for image in references]
        # one adapter, many images: the outer list counts adapters
        return self._pipe.prepare_ip_adapter_image_embeds([images], None, self._pipe.device, 1, guided)[0]


class _Adapter:
    """The IP-Adapter of a pipeline's UNet, which can be taken off and put back without touching weights.

    A UNet with a loaded adapter refuses to run without image embeddings; swapping its attention processors is free,
    while a scale of zero would still encode an image and call the adapter's code in every layer.
    """

    def __init__(self, pipe: DiffusionPipeline, spec: Spec) -> None:
        options = spec.options
        self._unet = pipe.unet
        self._plain = dict(pipe.unet.attn_processors)
        pipe.load_ip_adapter(
            options["adapter"],
            subfolder=options["adapter_subfolder"],
            weight_name=options["adapter_weights"],
            image_encoder_folder=options["adapter_image_encoder"],
            local_files_only=True,
        )
        self._adapted = {name: pipe.unet.attn_processors[name] for name in self._plain}
        self._projection = _Shown(pipe.unet.encoder_hid_proj)
        self._attached = False
        self.attach(True)

    def show(self, embeds: Sequence[torch.Tensor]) -> None:
        """The references of the next drawing, prompt by prompt."""
        self._projection.show(embeds)

    def attach(self, wanted: bool) -> None:
        """Put the adapter on the UNet, or take it off."""
        if wanted == self._attached:
            return
        # without its projection the UNet lists the same processors either way
        self._unet.encoder_hid_proj = None
        self._unet.set_attn_processor(dict(self._adapted if wanted else self._plain))
        if wanted:
            self._unet.encoder_hid_proj = self._projection
        self._attached = wanted


class _Shown(torch.nn.Module):
    """Takes the place of the references' tokens projection in the UNet and returns the tokens of this drawing.

    The pipeline repeats one set of references for every prompt of a batch, and the UNet projects it anew at every step;
    here each prompt has its own, projected once.
    """

    def __init__(self, projection: torch.nn.Module) -> None:
        super().__init__()
        self._projection = projection
        self._tokens: list[torch.Tensor] = []

    @property
    def image_projection_layers(self) -> torch.nn.ModuleList:
        """What the pipeline looks at to encode references."""
        return self._projection.image_projection_layers

    @torch.inference_mode()
    def show(self, embeds: Sequence[torch.Tensor]) -> None:
        """Take the embeddings of each prompt's references, `(1 or 2, R, …)` with blanks first."""
        halves = zip(*(one.chunk(len(one)) for one in embeds), strict=True)
        self._tokens = self._projection([torch.cat([torch.cat(half) for half in halves])])

    def forward(self, _image_embeds: list[torch.Tensor]) -> list[torch.Tensor]:
        """Tokens `(B, images, tokens, width)` of the one adapter."""
        return self._tokens


def _acts_on_unet(condition: Condition) -> bool:
    return hasattr(condition, "attached")


def load_generator(spec: Spec, device: str = "auto") -> DiffusersGenerator:
    """The generator of a spec on `device` ("auto", "cpu", "cuda"), from local files only.

    Raises `UserError` if a folder is missing or damaged.
    """
    target = choose_device(device)
    pipe = open_pipeline(spec, target)
    with reading(spec.options["adapter"], spec.remedy):
        generator = DiffusersGenerator(pipe, spec)
    lay_out(pipe, target)
    return generator


def open_pipeline(spec: Spec, target: torch.device) -> DiffusionPipeline:
    """The pipeline of a spec; `unet` and `scheduler` in the folder that its option "parts" names replace its own."""
    _quiet()
    dtype = number_format(target, spec)
    own: dict[str, Any] = {}
    if "parts" in spec.options:
        parts = Path(spec.options["parts"])
        with reading(str(parts), spec.remedy):
            own["unet"] = UNet2DConditionModel.from_pretrained(parts / "unet", torch_dtype=dtype)
            own["scheduler"] = DPMSolverMultistepScheduler.from_pretrained(parts / "scheduler")
    with reading(spec.weights, spec.remedy):
        pipe = DiffusionPipeline.from_pretrained(
            spec.weights,
            dtype=dtype,
            variant=spec.variant,
            revision=spec.revision,
            local_files_only=True,
            **own,
        ).to(target)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def lay_out(pipe: DiffusionPipeline, target: torch.device) -> None:
    """Put the weights of convolutions where a CPU reads them 2–7 times faster: channels last."""
    if target.type == "cpu":
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)


def _quiet() -> None:
    """Keep the libraries' progress bars and advice off stderr, which carries our own progress."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
