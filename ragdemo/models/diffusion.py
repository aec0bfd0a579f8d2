"""A diffusers pipeline with an IP-Adapter behind `ImageGenerator`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Event
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from PIL import Image

from ragdemo.models.interfaces import Step
from ragdemo.models.loading import choose_device, number_format, reading
from ragdemo.profiles import Profile


class _Stopped(Exception):  # noqa: N818 (the wanted end of a loop, not an error)
    """Raised inside the pipeline's step callback to leave its loop."""


class DiffusersGenerator:
    """Draws with a pipeline whose IP-Adapter is attached only while references are given.

    A plain drawing therefore costs and shows what the pipeline without the adapter does. One worker thread runs the
    pipeline, so drawings never overlap.
    """

    def __init__(self, pipe: DiffusionPipeline, profile: Profile) -> None:
        """`pipe` has no adapter loaded yet; its weights are read here from `profile`."""
        self._pipe = pipe
        self._profile = profile
        self._adapter = _Adapter(pipe, profile)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="diffusion")

    def draw(
        self,
        prompt: str,
        seed: int,
        *,
        references: Sequence[Image.Image] = (),
        steps: int | None = None,
        guidance_scale: float | None = None,
        reference_scale: float | None = None,
    ) -> Iterator[Step | Image.Image]:
        """See `ImageGenerator.draw`; the pipeline runs ahead of its consumer by at most the steps that it takes."""
        scale = self._profile.reference_scale if reference_scale is None else reference_scale
        arguments = {
            "prompt": prompt,
            "num_inference_steps": self._profile.steps if steps is None else steps,
            "guidance_scale": self._profile.guidance_scale if guidance_scale is None else guidance_scale,
            # a CPU generator gives the same noise on every device
            "generator": torch.Generator("cpu").manual_seed(seed),
        }
        return self._stream(lambda on_step: self._draw(arguments, references, scale, on_step))

    def _draw(
        self,
        arguments: dict[str, Any],
        references: Sequence[Image.Image],
        scale: float,
        on_step: Callable[..., dict],
    ) -> Image.Image:
        images = [image.convert("RGB") for image in references]
        self._adapter.attach(bool(images))
        if images:
            self._pipe.set_ip_adapter_scale(scale)
            # one adapter, many images: the outer list counts adapters
            arguments = arguments | {"ip_adapter_image": [images]}
        return self._pipe(**arguments, callback_on_step_end=on_step).images[0]

    def _stream(self, work: Callable[[Callable[..., dict]], Image.Image]) -> Iterator[Step | Image.Image]:
        """Run `work` in the worker thread; yield its steps as they end, then its image, or raise its error."""
        steps: SimpleQueue[Step | None] = SimpleQueue()
        stop = Event()

        def on_step(pipe: DiffusionPipeline, index: int, _time: int, _tensors: dict) -> dict:
            if stop.is_set():
                raise _Stopped
            steps.put(Step(index + 1, pipe.num_timesteps))
            return {}

        future: Future[Image.Image] = self._worker.submit(work, on_step)
        future.add_done_callback(lambda _: steps.put(None))
        try:
            while (step := steps.get()) is not None:
                yield step
            yield future.result()
        finally:
            stop.set()
            wait([future])


class _Adapter:
    """The IP-Adapter of a pipeline's UNet, which can be taken off and put back without touching weights.

    A UNet with a loaded adapter refuses to run without image embeddings; swapping its attention processors is free,
    where a scale of zero would still encode an image and call the adapter's code in every layer.
    """

    def __init__(self, pipe: DiffusionPipeline, profile: Profile) -> None:
        self._unet = pipe.unet
        self._plain = dict(pipe.unet.attn_processors)
        pipe.load_ip_adapter(
            profile.ip_adapter,
            subfolder=profile.ip_adapter_subfolder,
            weight_name=profile.ip_adapter_weights,
            local_files_only=True,
        )
        self._adapted = {name: pipe.unet.attn_processors[name] for name in self._plain}
        self._projection = _ProjectOnce(pipe.unet.encoder_hid_proj)
        self._attached = False
        self.attach(True)

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


class _ProjectOnce(torch.nn.Module):
    """The adapter's projection of image embeddings, computed once a drawing: the UNet asks for it at every step."""

    def __init__(self, projection: torch.nn.Module) -> None:
        super().__init__()
        self._projection = projection
        self._given: list[torch.Tensor] | None = None
        self._projected: list[torch.Tensor] = []

    @property
    def image_projection_layers(self) -> torch.nn.ModuleList:
        """What the pipeline looks at to encode references."""
        return self._projection.image_projection_layers

    def forward(self, image_embeds: list[torch.Tensor]) -> list[torch.Tensor]:
        """Tokens `(B, images, tokens, width)` of each adapter; the same list object gives the same tokens."""
        if image_embeds is not self._given:
            self._given, self._projected = image_embeds, self._projection(image_embeds)
        return self._projected


def load_generator(profile: Profile, device: str = "auto") -> DiffusersGenerator:
    """The generator of a profile on `device` ("auto", "cpu", "cuda"), from local files only.

    Raises `UserError` where a folder is missing or damaged.
    """
    _quiet()
    target = choose_device(device)
    with reading(profile.diffusion, _remedy(profile, "vae text-encoder diffusion")):
        pipe = DiffusionPipeline.from_pretrained(
            profile.diffusion, dtype=number_format(target), local_files_only=True
        ).to(target)
    pipe.set_progress_bar_config(disable=True)
    with reading(profile.ip_adapter, _remedy(profile, "image-encoder diffusion")):
        generator = DiffusersGenerator(pipe, profile)
    if target.type == "cpu":
        # convolutions on a CPU run 2-7 times faster with channels last
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    return generator


def _remedy(profile: Profile, stages: str) -> str:
    if profile.name == "pocket":
        return f"rebuild it with `python -m ragdemo train {stages}`"
    return "download it again with `hf download`"


def _quiet() -> None:
    """Keep the libraries' progress bars and advice off stderr, which carries our own progress."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
