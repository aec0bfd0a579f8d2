"""The pictures that the critic learns from: pools, degraded as a small generator's pictures are, and drafts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ragdemo.training.cache import save_array
from ragdemo.training.critic_words import Content, content_of
from ragdemo.training.drafts import open_drafts
from ragdemo.training.keys import constants
from ragdemo.training.loop import Context, autocast
from ragdemo.weights import weights_hash
from ragdemo.world.pool import Pool, PoolSpec, render_pool

SPECIES_POOL = PoolSpec("species", "train/species", 31_200)
GENERATOR_POOL = PoolSpec("generator", "train/generator", 24_000)
ROUND_TRIPS = 4000
ROUND_TRIP_SHARE = 0.25
STITCHED_SHARE = 0.08
GREY_SHARE = 0.02
DRAFT_SHARE = 0.15


class Pictures:
    """Draws batches of pictures with what they show."""

    def __init__(
        self,
        context: Context,
        pools: Sequence[PoolSpec] = (SPECIES_POOL, GENERATOR_POOL),
        round_trips: int = ROUND_TRIPS,
    ) -> None:
        """Opens the pools, rendering what is missing; the autoencoder restores the first `round_trips` of each."""
        self._pools = [render_pool(spec, context.pools, context.workers) for spec in pools]
        self._shares = [0.55, 0.45]
        self.drafts = 0
        self._restored: list[np.ndarray] = [_round_trips(pool, context, round_trips) for pool in self._pools]
        if (drafts := open_drafts(context)) is not None:
            self._pools.append(drafts)
            self._restored.append(np.empty((0,)))
            self.drafts = len(drafts)
            self._shares = [share * (1 - DRAFT_SHARE) for share in self._shares] + [DRAFT_SHARE]
        self._by_scene: dict[str, list[int]] = {}
        for index, rows in enumerate(self._pools[0].rows):
            self._by_scene.setdefault(rows[0]["scene"], []).append(index)
        folder = vae_folder(context)
        self.inputs: dict[str, object] = {
            "pools": [(pool.spec, pool.folder.name) for pool in self._pools],
            "restored": [len(restored) for restored in self._restored],
            "vae": weights_hash(folder) if folder else "",
            "settings": constants(sys.modules[__name__]),
        }
        """What the pictures depend on, for the key of a training's state."""

    def draw(self, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[Content]]:
        """`count` pictures, float32 `(N, 3, 128, 128)` in [0, 1], and what each shows."""
        pairs = [self._one(rng) for _ in range(count)]
        images = (
            torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2).float().div(255)
        )
        return degrade(images, rng), [picture for _, picture in pairs]

    def _one(self, rng: np.random.Generator) -> tuple[np.ndarray, Content]:
        if rng.random() < GREY_SHARE:
            return np.full((128, 128, 3), rng.integers(90, 170), np.uint8), Content((), None)
        if rng.random() < STITCHED_SHARE:
            return self._stitched(rng)
        which = int(rng.choice(len(self._pools), p=self._shares))
        restored = len(self._restored[which])
        if restored and rng.random() < ROUND_TRIP_SHARE:
            index = int(rng.integers(restored))
            return self._restored[which][index], content_of(self._pools[which].rows[index][0])
        return self._take(which, int(rng.integers(len(self._pools[which]))))

    def _take(self, which: int, index: int) -> tuple[np.ndarray, Content]:
        pool = self._pools[which]
        return pool.images(np.array([index]))[0, 0], content_of(pool.rows[index][0])

    def _stitched(self, rng: np.random.Generator) -> tuple[np.ndarray, Content]:
        """Two named species of different kinds side by side in one scene, which no pool shows."""
        left = int(rng.integers(len(self._pools[0])))
        (image, picture), kind = self._take(0, left), self._pools[0].rows[left][0]["looks"][0]["kind"]
        others = self._by_scene[picture.scene or ""]
        for _ in range(20):
            right = others[int(rng.integers(len(others)))]
            if self._pools[0].rows[right][0]["looks"][0]["kind"] != kind:
                other, beside = self._take(0, right)
                return _side_by_side(image, other), Content((*picture.things, *beside.things), picture.scene)
        return image, picture


def degrade(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Most pictures lose what a small generator's pictures lack: fine detail, exact colours, clean surfaces.

    `(N, 3, H, W)` in [0, 1] to the same. Each picture is degraded independently.
    """
    degraded = images.clone()
    for row in degraded:
        if rng.random() < 0.4:
            size = int(rng.integers(40, 110))
            small = F.interpolate(row[None], size=size, mode="area")
            row.copy_(F.interpolate(small, size=row.shape[-1], mode="bilinear", align_corners=False)[0])
        if rng.random() < 0.4:
            gain, shift = rng.uniform(0.92, 1.08, 3), rng.uniform(-0.04, 0.04, 3)
            row.mul_(torch.tensor(gain).view(3, 1, 1)).add_(torch.tensor(shift).view(3, 1, 1))
        if rng.random() < 0.3:
            coarse = torch.from_numpy(rng.normal(0, 0.06, (1, 3, 32, 32)).astype(np.float32))
            row.add_(F.interpolate(coarse, size=row.shape[-1], mode="bilinear", align_corners=False)[0])
    return degraded.clamp_(0, 1)


def restore(images: torch.Tensor, folder: Path, device: torch.device) -> torch.Tensor:
    """Pictures `(N, 3, H, W)` in [0, 1] through the autoencoder in `folder` and back."""
    from diffusers import AutoencoderTiny

    vae = AutoencoderTiny.from_pretrained(folder, torch_dtype=torch.float32).to(device)
    parts = []
    with torch.inference_mode(), autocast(device):
        for part in images.split(16):
            latents = vae.encode(part.to(device) * 2 - 1).latents
            parts.append(vae.decode(latents).sample.float().cpu() / 2 + 0.5)
    return torch.cat(parts).clamp(0, 1)


def vae_folder(context: Context) -> Path | None:
    """The folder of the shipped autoencoder; None if it has not been trained."""
    folder = context.assets / "diffusion" / "vae"
    return folder if any(folder.glob("*.safetensors")) else None


def _round_trips(pool: Pool, context: Context, count: int) -> np.ndarray:
    """The first pictures of a pool through the autoencoder, uint8 `(count, H, W, 3)`; computed once per autoencoder."""
    folder = vae_folder(context)
    if folder is None or count == 0:
        return np.empty((0,))
    file = context.pools / f"{pool.spec.folder}-restored-{weights_hash(folder)}-{count}.npy"
    if not file.exists():
        images = torch.from_numpy(pool.images(np.arange(min(count, len(pool))))[:, 0])
        restored = restore(images.permute(0, 3, 1, 2).float().div(255), folder, context.device)
        save_array(file, restored.mul(255).round().byte().permute(0, 2, 3, 1).contiguous().numpy())
    return np.load(file, mmap_mode="r")


def _side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Both pictures made smaller, as the world draws two things, cut to half the width and continued up and down."""
    size, small = left.shape[0], left.shape[0] * 5 // 8
    margin, above = (small - size // 2) // 2, (size - small) // 2
    halves = []
    for image in (left, right):
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()[None]
        narrow = F.interpolate(tensor, size=small, mode="area")[..., margin : margin + size // 2]
        halves.append(F.pad(narrow, (0, 0, above, size - small - above), mode="replicate"))
    return torch.cat(halves, dim=3)[0].permute(1, 2, 0).round().byte().numpy()
