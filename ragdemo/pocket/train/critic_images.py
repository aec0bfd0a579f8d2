"""The pictures that the critic learns from: pools, worn down as a small generator's pictures are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ragdemo.pocket.pool import SHARD, Pool, PoolSpec, render_pool
from ragdemo.pocket.train import drafts as drafts_pool
from ragdemo.pocket.train.critic_data import Shown, shown
from ragdemo.pocket.train.loop import Context, autocast

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
        drafts = context.pools / drafts_pool.FOLDER
        if any(drafts.glob("*.npy")):
            self._pools.append(_open_drafts(drafts))
            self._restored.append(np.empty((0,)))
            self.drafts = len(self._pools[-1])
            self._shares = [share * (1 - DRAFT_SHARE) for share in self._shares] + [DRAFT_SHARE]
        self._by_scene: dict[str, list[int]] = {}
        for index, rows in enumerate(self._pools[0].rows):
            self._by_scene.setdefault(rows[0]["scene"], []).append(index)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[Shown]]:
        """`count` pictures, float32 `(N, 3, 128, 128)` in [0, 1], and what each shows."""
        pairs = [self._one(rng) for _ in range(count)]
        images = (
            torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2).float().div(255)
        )
        return degrade(images, rng), [picture for _, picture in pairs]

    def _one(self, rng: np.random.Generator) -> tuple[np.ndarray, Shown]:
        if rng.random() < GREY_SHARE:
            return np.full((128, 128, 3), rng.integers(90, 170), np.uint8), Shown((), None)
        if rng.random() < STITCHED_SHARE:
            return self._stitched(rng)
        which = int(rng.choice(len(self._pools), p=self._shares))
        restored = len(self._restored[which])
        if restored and rng.random() < ROUND_TRIP_SHARE:
            index = int(rng.integers(restored))
            return self._restored[which][index], shown(self._pools[which].rows[index][0])
        return self._take(which, int(rng.integers(len(self._pools[which]))))

    def _take(self, which: int, index: int) -> tuple[np.ndarray, Shown]:
        pool = self._pools[which]
        return pool.images(np.array([index]))[0, 0], shown(pool.rows[index][0])

    def _stitched(self, rng: np.random.Generator) -> tuple[np.ndarray, Shown]:
        """Two named species of different kinds side by side in one scene, which no pool shows."""
        left = int(rng.integers(len(self._pools[0])))
        (image, picture), kind = self._take(0, left), self._pools[0].rows[left][0]["looks"][0]["kind"]
        others = self._by_scene[picture.scene or ""]
        for _ in range(20):
            right = others[int(rng.integers(len(others)))]
            if self._pools[0].rows[right][0]["looks"][0]["kind"] != kind:
                other, beside = self._take(0, right)
                return _side_by_side(image, other), Shown((*picture.things, *beside.things), picture.scene)
        return image, picture


def degrade(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Most pictures lose something of what a small generator loses: fine detail, exact colour, clean surfaces.

    `(N, 3, H, W)` in [0, 1] to the same. Each picture is worn down by itself.
    """
    worn = images.clone()
    for row in worn:
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
    return worn.clamp_(0, 1)


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
    """The shipped autoencoder, where it has been trained."""
    folder = context.assets / "diffusion" / "vae"
    return folder if any(folder.glob("*.safetensors")) else None


def _round_trips(pool: Pool, context: Context, count: int) -> np.ndarray:
    """The first pictures of a pool through the autoencoder, uint8 `(count, H, W, 3)`; kept until that changes."""
    folder = vae_folder(context)
    if folder is None or count == 0:
        return np.empty((0,))
    weights = next(iter(sorted(folder.glob("*.safetensors"))))
    mark = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    file = context.pools / f"{pool.spec.folder}-restored-{mark}-{count}.npy"
    if not file.exists():
        images = torch.from_numpy(pool.images(np.arange(min(count, len(pool))))[:, 0])
        restored = restore(images.permute(0, 3, 1, 2).float().div(255), folder, context.device)
        partial = file.with_suffix(".part")
        with partial.open("wb") as stream:
            np.save(stream, restored.mul(255).round().byte().permute(0, 2, 3, 1).contiguous().numpy())
        partial.replace(file)
    return np.load(file, mmap_mode="r")


def _open_drafts(folder: Path) -> Pool:
    shards = sorted(folder.glob("*.npy"))
    count = (len(shards) - 1) * SHARD + len(np.load(shards[-1], mmap_mode="r"))
    return Pool(PoolSpec("drafts", "train/drafts", count), folder)


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
