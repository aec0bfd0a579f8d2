"""Stage `diffusion`: the UNet of the base, and the IP-Adapter that carries identity into it.

Half of the batches show references: other renders of the same looks, mostly of nameless species. So base and adapter
are trained jointly. v-prediction (Salimans & Ho 2022) on a cosine schedule, timesteps logit-normal (Esser et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from ragdemo.training import adapter, words
from ragdemo.training.cache import cached
from ragdemo.training.export import shipped_card, write_card
from ragdemo.training.image_encoder import (
    RESAMPLER_FILE,
    TOKENS,
    clip_pixels,
    hidden_states,
    new_resampler,
)
from ragdemo.training.keys import constants
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.text_encoder import WIDTH
from ragdemo.training.vae import GENERATOR_POOL, PAIR_POOL, save_vae, to_tensor
from ragdemo.training.words import compose_caption
from ragdemo.world.pool import PoolSpec, render_pool

BATCH = 32
DROP = 0.1
NAMED_SHARE = 0.6
"""Of the pictures without a reference; over all lessons less than half of the pictures are named."""
LESSONS = ("plain", "pair", "plain", "pair", "plain", "duo", "plain", "pair", "plain", "one of two")
"""What the batches show in turn: no reference; one; two things with a reference each; with a reference for one."""
DUO_POOL = PoolSpec("duos", "train/duos", 6_000)
ADAPTER_FILE = "models/ip-adapter-plus_pocket.safetensors"


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet of 7M parameters on 16×16 latents."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        block_out_channels=(64, 128, 128),
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


class Material:
    """The inputs of the stage: frozen encoders, and the pools as latents and reference states."""

    def __init__(self, context: Context) -> None:
        folder, device = context.assets / "diffusion", context.device
        self.device = device
        vae = _frozen(AutoencoderTiny.from_pretrained(folder / "vae", torch_dtype=torch.float32), device)
        self.vae, self.scaling = vae.to(memory_format=torch.channels_last), vae.config.scaling_factor
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.text = _frozen(
            CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32), device
        )
        vision_folder = context.assets / "ip_adapter" / "models" / "image_encoder"
        vision = CLIPVisionModelWithProjection.from_pretrained(vision_folder, dtype=torch.float32)
        self.vision = _frozen(vision, device)
        self.singles = render_pool(GENERATOR_POOL, context.pools, context.workers)
        self.pairs = render_pool(PAIR_POOL, context.pools, context.workers)
        caches, latents = context.workdir / "caches", f"latents-{self.scaling:.4g}"
        self.single_latents = cached(latents, self.singles, vae.encoder, caches, self._latents)
        self.pair_latents = cached(latents, self.pairs, vae.encoder, caches, self._latents)
        self.pair_references = cached("references", self.pairs, self.vision, caches, self._reference_states)
        self.duos = render_pool(DUO_POOL, context.pools, context.workers)
        self.duo_latents = cached(latents, self.duos, vae.encoder, caches, self._latents)
        self.duo_references = cached("references", self.duos, self.vision, caches, self._reference_states)
        names = [any(row[0]["names"]) for row in self.singles.rows]
        self._named, self._nameless = np.flatnonzero(names), np.flatnonzero(np.logical_not(names))
        self.no_text = self.text_states([""])
        blank = torch.zeros(1, 3, 128, 128, device=device)
        with torch.inference_mode():
            self.no_image = hidden_states(self.vision, blank).clone()

    @property
    def inputs(self) -> dict[str, object]:
        """What batches depend on beside the stage's constants: the frozen models and the caption settings."""
        models = {"vae": self.vae.encoder, "scaling": self.scaling, "text": self.text, "vision": self.vision}
        return {**models, "words": constants(words)}

    def text_states(self, captions: list[str]) -> torch.Tensor:
        """Captions to the text model's states `(B, 40, D)`."""
        tokens = self.tokenizer(
            captions, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        with torch.no_grad(), autocast(self.device):
            return self.text(tokens.to(self.device)).last_hidden_state.float()

    def _latents(self, images: np.ndarray) -> torch.Tensor:
        with autocast(self.device):
            return self.vae.encode(to_tensor(images, self.device)).latents.float() * self.scaling

    def _reference_states(self, images: np.ndarray) -> torch.Tensor:
        with autocast(self.device):
            return hidden_states(self.vision, clip_pixels(images, self.device))

    def batch(self, step: int, lesson: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents `(B, 8, 16, 16)`, text states, reference states `(B, R, 65, D)`; a tenth without any condition."""
        rng = step_rng("diffusion", step)
        composer = Random(int(rng.integers(2**31)))
        if lesson == "plain":
            named = rng.random(BATCH) < NAMED_SHARE
            chosen = np.where(named, rng.choice(self._named, BATCH), rng.choice(self._nameless, BATCH))
            x, captions, references = self._plain(chosen, composer)
        elif lesson == "pair":
            x, captions, references = self._pairs(rng.integers(0, len(self.pairs), BATCH), rng, composer)
        else:
            given = ((1, 2),) * BATCH if lesson == "duo" else [(i,) for i in rng.integers(1, 3, BATCH)]
            x, captions, references = self._duos(rng.integers(0, len(self.duos), BATCH), given, composer)
        dropped = torch.from_numpy(rng.random(BATCH) < DROP).to(self.device)
        text = torch.where(dropped[:, None, None], self.no_text, self.text_states(captions))
        latents = torch.from_numpy(x).float().to(self.device)
        if references is None:
            return latents, text, self.no_image[None]
        states = torch.from_numpy(references).float().to(self.device)
        return latents, text, torch.where(dropped[:, None, None, None], self.no_image, states)

    def _plain(self, chosen: np.ndarray, composer: Random) -> tuple[np.ndarray, list[str], None]:
        rows = [self.singles.rows[i][0] for i in chosen]
        return self.single_latents[chosen, 0], [compose_caption(row, composer)[0] for row in rows], None

    def _pairs(
        self, chosen: np.ndarray, rng: np.random.Generator, composer: Random
    ) -> tuple[np.ndarray, list[str], np.ndarray]:
        which = rng.integers(0, 2, len(chosen))
        rows = [self.pairs.rows[i][j] for i, j in zip(chosen, which, strict=True)]
        captions = [compose_caption(row, composer, plain=(0,))[0] for row in rows]
        return self.pair_latents[chosen, which], captions, self.pair_references[chosen, 1 - which][:, None]

    def _duos(
        self, chosen: np.ndarray, given: Sequence[tuple[int, ...]], composer: Random
    ) -> tuple[np.ndarray, list[str], np.ndarray]:
        """`given` are the positions of the references shown with each target."""
        captions = [
            compose_caption(self.duos.rows[i][0], composer, plain=[j - 1 for j in positions])[0]
            for i, positions in zip(chosen, given, strict=True)
        ]
        references = np.stack([self.duo_references[i, list(g)] for i, g in zip(chosen, given, strict=True)])
        return self.duo_latents[chosen, 0], captions, references


def train_diffusion(context: Context) -> None:
    """Train UNet and adapter jointly and write the pipeline folder and the adapter."""
    material = Material(context)
    torch.manual_seed(0)
    unet = (_shipped if context.warm else _fresh)(context).to(memory_format=torch.channels_last)
    origin = shipped_card(context.assets / "diffusion") if context.warm else None
    loop = Loop(
        "diffusion",
        context,
        {"unet": unet},
        steps=60_000,
        learning_rate=6e-4,
        ema_decay=0.998,
        origin=origin,
        inputs=material.inputs,
    )
    noise_levels = new_scheduler().alphas_cumprod.to(context.device)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        lesson = LESSONS[step % len(LESSONS)]
        adapter.set_scale(unet, 0.0 if lesson == "plain" else 1.0)
        loss = velocity_loss(unet, noise_levels, *material.batch(step, lesson))
        return loss, {lesson: float(loss.detach())}

    loop.run(step_loss)
    export(context, loop, material, loop.averaged["unet"])


def velocity_loss(
    unet: UNet2DConditionModel,
    noise_levels: torch.Tensor,
    latents: torch.Tensor,
    text: torch.Tensor,
    image: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error of the velocity v = √ᾱ·ε − √(1−ᾱ)·x0 at logit-normal timesteps."""
    batch, device = len(latents), latents.device
    t = (torch.sigmoid(0.2 + 1.2 * torch.randn(batch, device=device)) * 1000).long().clamp(0, 999)
    signal, sigma = (level.sqrt().view(-1, 1, 1, 1) for level in (noise_levels[t], 1 - noise_levels[t]))
    noise = torch.randn_like(latents)
    noisy = (signal * latents + sigma * noise).contiguous(memory_format=torch.channels_last)
    with autocast(device):
        predicted = unet(noisy, t, text, added_cond_kwargs={"image_embeds": [image]}).sample.float()
    return F.mse_loss(predicted, signal * noise - sigma * latents)


@torch.inference_mode()
def measure_velocity(unet: UNet2DConditionModel, material: Material) -> dict[str, float]:
    """The loss over ten batches of each lesson."""
    levels, figures = new_scheduler().alphas_cumprod.to(material.device), {}
    torch.manual_seed(0)
    for lesson in dict.fromkeys(LESSONS):
        adapter.set_scale(unet, 0.0 if lesson == "plain" else 1.0)
        batches = [material.batch(10**9 + i, lesson) for i in range(10)]
        losses = [velocity_loss(unet, levels, *batch).item() for batch in batches]
        figures[f"velocity_loss_{lesson.replace(' ', '_')}"] = round(float(np.mean(losses)), 4)
    adapter.set_scale(unet, 1.0)
    return figures


def export(context: Context, loop: Loop, material: Material, unet: UNet2DConditionModel) -> None:
    """Write the base as a diffusers pipeline folder and the adapter beside it."""
    folder = context.assets / "diffusion"
    adapter.save_adapter(unet, context.assets / "ip_adapter" / ADAPTER_FILE)
    pipeline = StableDiffusionPipeline(
        vae=material.vae,
        text_encoder=material.text,
        tokenizer=material.tokenizer,
        unet=adapter.without_adapter(unet),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, max_shard_size="9MB")
    pipeline.to(torch.float32)
    save_vae(material.vae, folder / "vae")
    figures = measure_velocity(unet, material)
    facts = {
        "data": [GENERATOR_POOL.folder, PAIR_POOL.folder, DUO_POOL.folder],
        **loop.card(),
        "figures": figures,
    }
    for place in (folder, folder / "unet", context.assets / "ip_adapter"):
        write_card(place, facts)


def _fresh(context: Context) -> UNet2DConditionModel:
    """An untrained UNet with the resampler that the stage `image-encoder` left."""
    unet, resampler = new_unet(), new_resampler()
    start = context.workdir / RESAMPLER_FILE
    if start.exists():
        resampler.load_state_dict(torch.load(start, weights_only=True))
    adapter.attach(unet, resampler, TOKENS)
    return unet


def _shipped(context: Context) -> UNet2DConditionModel:
    """The shipped UNet with the shipped adapter."""
    unet = UNet2DConditionModel.from_pretrained(
        context.assets / "diffusion" / "unet", torch_dtype=torch.float32
    )
    adapter.load_adapter(unet, context.assets / "ip_adapter" / ADAPTER_FILE)
    return unet


def _frozen(model: Any, device: torch.device) -> Any:
    return model.to(device).eval().requires_grad_(False)
