"""Stage `vae`: the autoencoder of the diffusion base, 128×128 pixels to 16×16 latents and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny

from ragdemo.training.export import shipped_card, waiting_or_shipped, write_card
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.world.pool import Pool, PoolSpec, render_pool

GENERATOR_POOL = PoolSpec("generator", "train/generator", 24_000)
PAIR_POOL = PoolSpec("pairs", "train/pairs", 12_000)
BATCH = 16
CROP = 64
NOISE = 0.06
PRIOR_WEIGHT = 1e-3
FOLDER = "diffusion/vae"


def new_vae() -> AutoencoderTiny:
    """An untrained autoencoder: 8× down, 8 latent channels, 0.9M parameters."""
    return AutoencoderTiny(
        encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(48,) * 4,
        num_encoder_blocks=(1, 1, 2, 3),
        num_decoder_blocks=(4, 3, 1, 1),
        latent_channels=8,
    )


def to_tensor(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 `(N, H, W, 3)` to float32 `(N, 3, H, W)` in [-1, 1], channels last."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return tensor.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def reconstruction_loss(restored: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 on pixels and, for crisp outlines, on their finite differences."""
    loss = F.l1_loss(restored, target) + F.mse_loss(restored, target)
    for axis in (2, 3):
        loss = loss + 0.5 * F.l1_loss(restored.diff(dim=axis), target.diff(dim=axis))
    return loss


def train_vae(context: Context) -> None:
    """Train both halves on random crops, most of them on the object, and write `diffusion/vae`."""
    torch.manual_seed(0)
    start = waiting_or_shipped(context.assets, FOLDER)
    origin = shipped_card(start) if context.warm else None
    vae = new_vae() if origin is None else _opened(start)
    vae.to(memory_format=torch.channels_last)
    loop = Loop(
        "vae", context, {"vae": vae}, steps=30_000, learning_rate=1e-3, ema_decay=0.995, origin=origin
    )
    pools = _pools(context)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        target = to_tensor(_crops(pools[step % 2], step_rng("vae", step)), context.device)
        with autocast(context.device):
            latents = vae.encode(target).latents.float()
            restored = vae.decode(latents + NOISE * torch.randn_like(latents)).sample.float()
        prior = latents.square().mean()
        loss = reconstruction_loss(restored, target) + PRIOR_WEIGHT * prior
        return loss, {"psnr": _psnr(restored, target), "power": float(prior.detach())}

    loop.run(step_loss)
    export_vae(context, loop)


def train_decoder(context: Context) -> None:
    """Train the shipped decoder further, with the encoder and so the latent space frozen; rewrites `diffusion/vae`."""
    vae = _opened(context.assets / FOLDER)
    origin = shipped_card(context.assets / FOLDER)
    vae.encoder.requires_grad_(False)
    vae.to(memory_format=torch.channels_last)
    loop = Loop(
        "vae-decoder",
        context,
        {"vae": vae},
        steps=60_000,
        learning_rate=7e-4,
        ema_decay=0.998,
        origin=origin,
    )
    pools = _pools(context)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        target = to_tensor(_crops(pools[step % 2], step_rng("vae-decoder", step)), context.device)
        with autocast(context.device):
            with torch.no_grad():
                latents = vae.encode(target).latents.float()
            restored = vae.decode(latents + 0.3 * NOISE * torch.randn_like(latents)).sample.float()
        return reconstruction_loss(restored, target), {"psnr": _psnr(restored, target)}

    loop.run(step_loss)
    export_vae(context, loop)


def export_vae(context: Context, loop: Loop) -> None:
    """Write the averaged autoencoder; if its encoder was trained, scaled so that latents have unit variance."""
    vae = loop.averaged["vae"]
    pool = _pools(context)[0]
    images = pool.images(np.arange(min(256, len(pool))))[:, 0]
    with torch.inference_mode():
        tensor = to_tensor(images, context.device)
        latents = vae.encode(tensor).latents
        psnr = _psnr(vae.decode(latents).sample, tensor)
    if any(parameter.requires_grad for parameter in loop.modules["vae"].encoder.parameters()):
        vae.register_to_config(scaling_factor=float(1 / latents.std()))
    folder = context.assets / FOLDER
    save_vae(vae, folder)
    write_card(folder, {"data": GENERATOR_POOL.folder, **loop.card(), "figures": {"psnr_db": round(psnr, 2)}})


def save_vae(vae: AutoencoderTiny, folder: Path) -> None:
    """Write fp16 weights and a configuration that loads without a warning."""
    vae.half().save_pretrained(folder)
    vae.float()
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config.pop("block_out_channels", None)  # the class derives it, and warns if it is given
    config.pop("_name_or_path", None)  # where it was read from is of no use elsewhere
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _opened(folder: Path) -> AutoencoderTiny:
    return AutoencoderTiny.from_pretrained(folder, torch_dtype=torch.float32)


def _pools(context: Context) -> list[Pool]:
    return [render_pool(spec, context.pools, context.workers) for spec in (GENERATOR_POOL, PAIR_POOL)]


@torch.no_grad()
def _psnr(restored: torch.Tensor, target: torch.Tensor) -> float:
    return float(10 * torch.log10(4 / F.mse_loss(restored.clamp(-1, 1), target)))


def _crops(pool: Pool, rng: np.random.Generator) -> np.ndarray:
    """`BATCH` crops of `CROP`², uint8; centres lean towards the middle, where the object is."""
    images = pool.images(rng.integers(0, len(pool), BATCH))
    rows, columns = (np.clip(rng.normal(32, 18, (2, BATCH)), 0, 64)).astype(int)
    which = rng.integers(0, images.shape[1], BATCH)
    return np.stack(
        [images[i, which[i], rows[i] : rows[i] + CROP, columns[i] : columns[i] + CROP] for i in range(BATCH)]
    )
