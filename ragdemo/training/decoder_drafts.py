"""Stage `decoder-drafts`: the autoencoder's decoder learns to draw clean lines from the generator's own latents.

True latents are noised to t < 600 and denoised by one UNet step; the target is the true picture. Encoder and UNet stay
as they are, so nothing else depends on this stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch
from diffusers import DiffusionPipeline

from ragdemo.training import adversarial
from ragdemo.training.adversarial import PatchDiscriminator, adversarial_losses, careful_reconstruction_loss
from ragdemo.training.export import shipped_card, write_card
from ragdemo.training.frozen import text_states
from ragdemo.training.keys import constants
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.training.vae import GENERATOR_POOL, _psnr, save_vae, to_tensor
from ragdemo.training.words import compose_caption
from ragdemo.world.pool import Pool, render_pool

BATCH = 8
NOISIEST = 600
TRUE_EVERY = 4
"""Every fourth batch shows true latents, so that the round trip stays what it was."""
ADVERSARIAL_WEIGHT = 0.05


def train_decoder_drafts(context: Context) -> None:
    """Train the shipped decoder on and rewrite `diffusion/vae`."""
    torch.manual_seed(0)
    folder, pool = context.assets / "diffusion", render_pool(GENERATOR_POOL, context.pools, context.workers)
    pipe = _frozen_but_decoder(folder, context.device)
    judge = PatchDiscriminator().to(memory_format=torch.channels_last)
    loop = Loop(
        "decoder-drafts",
        context,
        {"vae": pipe.vae, "judge": judge},
        steps=8_000,
        learning_rate=2e-4,
        weight_decay=0.0,
        ema_decay=0.998,
        origin=shipped_card(folder / "vae"),
        inputs={
            "unet": pipe.unet,
            "text": pipe.text_encoder,
            "pool": pool.spec,
            "loss": constants(adversarial),
        },
    )

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        own = step % TRUE_EVERY > 0
        target, captions = _batch(pool, step, context.device)
        with autocast(context.device):
            restored = _restored(pipe, target, captions if own else None)
            for_decoder, for_judge = adversarial_losses(judge, restored, target)
        weight = ADVERSARIAL_WEIGHT * min(1, step / 300)
        loss = careful_reconstruction_loss(restored, target) + weight * for_decoder.float()
        figures = {
            "psnr of own" if own else "psnr": _psnr(restored, target),
            "judge": float(for_judge.detach()),
        }
        return loss + for_judge.float(), figures

    loop.run(step_loss)
    save_vae(loop.averaged["vae"], folder / "vae")
    write_card(folder / "vae", {"data": GENERATOR_POOL.folder, **loop.card()})


def _frozen_but_decoder(folder: Path, device: torch.device) -> DiffusionPipeline:
    pipe = DiffusionPipeline.from_pretrained(str(folder), torch_dtype=torch.float32).to(device)
    for frozen in (pipe.unet, pipe.text_encoder, pipe.vae.encoder):
        frozen.requires_grad_(False).eval()
    for convolutional in (pipe.unet, pipe.vae):
        convolutional.to(memory_format=torch.channels_last)
    return pipe


def _batch(pool: Pool, step: int, device: torch.device) -> tuple[torch.Tensor, list[str]]:
    """True pictures `(B, 3, 128, 128)` and their captions."""
    rng = step_rng("decoder-drafts", step)
    chosen, words = rng.integers(0, len(pool), BATCH), Random(int(rng.integers(2**31)))
    captions = [compose_caption(pool.rows[i][0], words)[0] for i in chosen]
    return to_tensor(pool.images(chosen)[:, 0], device), captions


def _restored(pipe: DiffusionPipeline, target: torch.Tensor, captions: Sequence[str] | None) -> torch.Tensor:
    """True pictures through encoder and decoder, with captions by way of the UNet as well."""
    scaling = pipe.vae.config.scaling_factor
    latents = pipe.vae.encode(target).latents.detach() * scaling
    if captions is not None:
        latents = _denoised(pipe, latents, captions)
    scaled = (latents.float() / scaling).contiguous(memory_format=torch.channels_last)
    return pipe.vae.decode(scaled).sample.float()


@torch.no_grad()
def _denoised(pipe: DiffusionPipeline, clean: torch.Tensor, captions: Sequence[str]) -> torch.Tensor:
    """What the UNet makes in one step of latents `(B, 8, 16, 16)` noised to a random t."""
    levels = pipe.scheduler.alphas_cumprod.to(clean.device)  # ᾱ (1000,)
    text = text_states(pipe.tokenizer, pipe.text_encoder, captions)
    t = torch.randint(20, NOISIEST, (len(clean),), device=clean.device)
    signal, sigma = (level.sqrt().view(-1, 1, 1, 1) for level in (levels[t], 1 - levels[t]))
    noisy = signal * clean + sigma * torch.randn_like(clean)
    velocity = pipe.unet(noisy.contiguous(memory_format=torch.channels_last), t, text).sample
    return signal * noisy - sigma * velocity
