"""Stage `diffusion`: the UNet of the base, and the IP-Adapter that carries identity into it.

Half of the batches show references: other pictures of the same looks, mostly of nameless things. So base and adapter
are trained jointly. v-prediction (Salimans & Ho 2022) on a cosine schedule, timesteps logit-normal (Esser et al. 2024).
Two lessons besides, of modules that are dropped before shipping: the deepest features agree with what the adapter's
vision model sees in the true picture (REPA, Yu et al. 2025), and the adapter's tokens keep telling what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn

from ragdemo.training import adapter, material
from ragdemo.training.export import shipped_card, write_card
from ragdemo.training.image_encoder import READER_FILE, TOKENS, TokenReader, new_resampler
from ragdemo.training.keys import constants
from ragdemo.training.loop import Context, Loop, autocast
from ragdemo.training.material import Batch, Material
from ragdemo.training.text_encoder import WIDTH
from ragdemo.training.vae import save_vae

LESSONS = ("plain", "pair", "plain", "pair", "plain", "duo", "plain", "pair", "plain", "one of two")
"""What the batches show in turn: no reference; one; two things with a reference each; with a reference for one."""
DEEPEST = 192
"""Channels of the deepest level: wide enough to hold what a thing looks like, for methods that work there."""
ALIGNMENT_WEIGHT = 0.5
READING_WEIGHT = 0.02
ADAPTER_FILE = "models/ip-adapter-plus_pocket.safetensors"


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet of 11M parameters on 16×16 latents."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        block_out_channels=(64, 128, DEEPEST),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # diffusers' name for the number of heads
        norm_num_groups=16,
    )


def new_scheduler() -> DPMSolverMultistepScheduler:
    """The schedule of training and sampling."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )


class Lessons(nn.Module):
    """A UNet in training, with heads that are dropped afterwards, on the adapter's tokens and the deepest features."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet, self.reader = unet, TokenReader()
        width = unet.config.block_out_channels[-1]
        self.alignment = nn.Sequential(nn.Conv2d(width, WIDTH, 1), nn.SiLU(), nn.Conv2d(WIDTH, WIDTH, 1))

    def loss(self, noise_levels: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """The velocity's error, with the lessons besides, and their figures."""
        resampler = self.unet.encoder_hid_proj.image_projection_layers[0]
        with outputs_of(middle=self.unet.mid_block, tokens=resampler) as seen:
            velocity = velocity_loss(self.unet, noise_levels, batch)
        with autocast(batch.latents.device):
            aligned = self.alignment(seen["middle"])
        alignment = alignment_loss(aligned.float(), batch.states)
        loss, figures = velocity + ALIGNMENT_WEIGHT * alignment, {"alignment": float(alignment.detach())}
        if batch.attributes is not None and batch.upright is not None:
            with autocast(batch.latents.device):
                reading, told = self.reader.loss(seen["tokens"], batch.attributes, batch.upright)
            loss = loss + READING_WEIGHT * reading
            figures |= {key: told[key] for key in ("upright", "main", "shape") if key in told}
        return loss, {**figures, "velocity": float(velocity.detach())}


@contextmanager
def outputs_of(**modules: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """What the modules return meanwhile, by name."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: seen.update({name: output})

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def alignment_loss(aligned: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """One minus the cosine of features `(B, D, h, h)` and patch states `(B, 1 + 64, D)`, averaged to h×h places."""
    patches = F.layer_norm(states[:, 1:].float(), states.shape[-1:])
    side = int(patches.shape[1] ** 0.5)
    places = patches.mT.reshape(len(patches), -1, side, side)
    return 1 - F.cosine_similarity(aligned, F.adaptive_avg_pool2d(places, aligned.shape[-1]), dim=1).mean()


def train_diffusion(context: Context) -> None:
    """Train UNet and adapter jointly and write the pipeline folder and the adapter."""
    inputs = Material(context)
    torch.manual_seed(0)
    lessons = (_shipped if context.warm else _fresh)(context)
    lessons.unet.to(memory_format=torch.channels_last)
    loop = Loop(
        "diffusion",
        context,
        {"lessons": lessons},
        steps=62_500,
        learning_rate=6e-4,
        ema_decay=0.999,
        origin=shipped_card(context.assets / "diffusion") if context.warm else None,
        inputs={**inputs.inputs, "material": constants(material)},
    )
    noise_levels = new_scheduler().alphas_cumprod.to(context.device)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        lesson = LESSONS[step % len(LESSONS)]
        adapter.set_scale(lessons.unet, 0.0 if lesson == "plain" else 1.0)
        loss, figures = lessons.loss(noise_levels, inputs.batch("diffusion", step, lesson))
        return loss, {lesson: figures.pop("velocity"), **figures}

    loop.run(step_loss)
    export(context, loop, inputs, loop.averaged["lessons"].unet)


def velocity_loss(unet: UNet2DConditionModel, noise_levels: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean squared error of the velocity v = √ᾱ·ε − √(1−ᾱ)·x0 at logit-normal timesteps."""
    latents = batch.latents
    t = (torch.sigmoid(0.2 + 1.2 * torch.randn(len(latents), device=latents.device)) * 1000).long()
    t = t.clamp(0, 999)
    signal, sigma = (level.sqrt().view(-1, 1, 1, 1) for level in (noise_levels[t], 1 - noise_levels[t]))
    noise = torch.randn_like(latents)
    noisy = (signal * latents + sigma * noise).contiguous(memory_format=torch.channels_last)
    with autocast(latents.device):
        predicted = unet(
            noisy, t, batch.text, added_cond_kwargs={"image_embeds": [batch.references]}
        ).sample.float()
    return F.mse_loss(predicted, signal * noise - sigma * latents)


@torch.inference_mode()
def measure_velocity(unet: UNet2DConditionModel, inputs: Material) -> dict[str, float]:
    """The loss over ten batches of each lesson."""
    levels, figures = new_scheduler().alphas_cumprod.to(inputs.device), {}
    torch.manual_seed(0)
    for lesson in dict.fromkeys(LESSONS):
        adapter.set_scale(unet, 0.0 if lesson == "plain" else 1.0)
        batches = [inputs.batch("diffusion", 10**9 + i, lesson) for i in range(10)]
        losses = [velocity_loss(unet, levels, batch).item() for batch in batches]
        figures[f"velocity_loss_{lesson.replace(' ', '_')}"] = round(float(np.mean(losses)), 4)
    adapter.set_scale(unet, 1.0)
    return figures


def export(context: Context, loop: Loop, inputs: Material, unet: UNet2DConditionModel) -> None:
    """Write the base as a diffusers pipeline folder and the adapter beside it."""
    folder, vae = context.assets / "diffusion", inputs.encoders.vae
    adapter.save_adapter(unet, context.assets / "ip_adapter" / ADAPTER_FILE)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=inputs.text,
        tokenizer=inputs.tokenizer,
        unet=adapter.without_adapter(unet),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, max_shard_size="9MB")
    pipeline.to(torch.float32)
    save_vae(vae, folder / "vae")
    facts = {"data": inputs.data, **loop.card(), "figures": measure_velocity(unet, inputs)}
    for place in (folder, folder / "unet", context.assets / "ip_adapter"):
        write_card(place, facts)


def _fresh(context: Context) -> Lessons:
    """An untrained UNet with the resampler and the heads that the stage `image-encoder` left."""
    unet, resampler = new_unet(), new_resampler()
    start = context.workdir / READER_FILE
    parts = torch.load(start, weights_only=True) if start.exists() else None
    if parts:
        resampler.load_state_dict(parts["resampler"])
    adapter.attach(unet, resampler, TOKENS)
    lessons = Lessons(unet)
    if parts:
        lessons.reader.load_state_dict(parts["reader"])
    return lessons


def _shipped(context: Context) -> Lessons:
    """The shipped UNet with the shipped adapter; the heads begin anew."""
    unet = UNet2DConditionModel.from_pretrained(
        context.assets / "diffusion" / "unet", torch_dtype=torch.float32
    )
    adapter.load_adapter(unet, context.assets / "ip_adapter" / ADAPTER_FILE)
    return Lessons(unet)
