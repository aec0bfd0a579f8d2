"""Stage `critic-drafts`: the generator's own pictures, as the critic will see them, with what each should show.

Of a draft only its request is known: a common name, or a fresh render of a nameless or rare look as reference. So a
row is as often true as the generator draws it correctly.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from random import Random

import numpy as np

from ragdemo.models.base import Drawing, ImageReferences, NoReference, Sampling
from ragdemo.models.diffusion import load_generator
from ragdemo.profiles import get_profile
from ragdemo.training.cache import save_array
from ragdemo.training.keys import constants, key_of
from ragdemo.training.loop import Context
from ragdemo.training.words import letter_noise
from ragdemo.weights import weights_hash
from ragdemo.world.captions import caption
from ragdemo.world.look import Look
from ragdemo.world.pool import SHARD, Pool, PoolSpec, describe_sample
from ragdemo.world.render import SIZE
from ragdemo.world.sampling import Sample, compose
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import common_kinds, nameless, of_tier
from ragdemo.world.version import world_version

STREAM = "train/drafts"
BATCH = 8
SAMPLING_STEPS = (8, 16)
COMMON_SHARE, RARE_SHARE = 0.35, 0.3


def train_drafts(context: Context) -> None:
    """Draw `context.count` pictures (4,000 by default) into a pool; shards that are complete are not drawn again."""
    generator = load_generator(get_profile("pocket").spec("generator"), context.device.type)
    folder = drafts_folder(context)
    folder.mkdir(parents=True, exist_ok=True)
    count = context.count or 4000
    print(f"critic-drafts draws {count} pictures into {folder.name}", flush=True)
    for start in range(0, count, SHARD):
        indices = range(start, min(start + SHARD, count))
        file = folder / f"{start:07d}.npy"
        if file.exists() and len(np.load(file, mmap_mode="r")) >= len(indices):
            continue
        rows, pictures = [], []
        for first in range(start, indices.stop, BATCH):
            samples = [draft(i) for i in range(first, min(first + BATCH, indices.stop))]
            for with_reference in (True, False):  # drawings with and without a reference cannot share a batch
                chosen = [p for p in samples if isinstance(p[1].condition, ImageReferences) == with_reference]
                drawn = generator.draw_many([drawing for _, drawing in chosen])
                pictures += [np.asarray(one.image) for one in drawn]
                rows += [[describe_sample(sample)] for sample, _ in chosen]
            print(f"critic-drafts {len(rows) + start}/{count}", flush=True)
        _write(folder / f"{start:07d}.json", json.dumps(rows).encode())
        save_array(file, np.stack(pictures)[:, None])


def drafts_folder(context: Context) -> Path:
    """The pool of the shipped generator's drafts; another generator, world or setting gets a folder of its own."""
    inputs = {
        "generator": [weights_hash(context.assets / name) for name in ("diffusion", "ip_adapter")],
        "settings": constants(sys.modules[__name__]),
        "world": world_version(),
    }
    return context.pools / f"drafts-{STREAM.replace('/', '-')}-{key_of(inputs)}"


def open_drafts(context: Context) -> Pool | None:
    """The drafts of the shipped generator; None, with a word about it, if there are none."""
    folder = drafts_folder(context)
    shards = sorted(folder.glob("*.npy"))
    if not shards:
        print(f"no drafts of this generator in {folder}; the stage critic-drafts draws them", flush=True)
        return None
    count = (len(shards) - 1) * SHARD + len(np.load(shards[-1], mmap_mode="r"))
    return Pool(PoolSpec("drafts", STREAM, count), folder)


def draft(index: int) -> tuple[Sample, Drawing]:
    """What draft `index` should show, and how it is drawn; batches of eight share their number of sampling steps."""
    rng = Random(f"{STREAM}/{index}")
    chance, kind = rng.random(), rng.choice(common_kinds())
    if chance < COMMON_SHARE:
        name, look = _species("common", kind, rng)
        words, with_reference = name, False
    elif chance < COMMON_SHARE + RARE_SHARE:
        name, look = _species("rare", kind, rng)
        words, with_reference = name, True
    else:
        name, look = None, nameless(kind, rng)
        words, with_reference = (f"{letter_noise(rng)} {kind}" if rng.random() < 0.5 else kind), True
    scene, other_scene = rng.sample(SCENES, 2)
    sample = Sample(compose([look], scene, rng), caption([words], scene, rng), (name,))
    shown = compose([look], other_scene, rng).render(SIZE) if with_reference else None
    condition = NoReference() if shown is None else ImageReferences((shown,))
    steps = SAMPLING_STEPS[Random(f"{STREAM}/steps/{index // BATCH}").random() < 0.7]
    return sample, Drawing(sample.caption, rng.getrandbits(32), Sampling(steps=steps), condition)


def _species(tier: str, kind: str, rng: Random) -> tuple[str, Look]:
    species = rng.choice([s for s in of_tier(tier) if s.look.kind == kind])
    return species.name, species.look


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(path.suffix + ".part")
    partial.write_bytes(data)
    os.replace(partial, path)
