"""Stage `critic-drafts`: the generator's own pictures, as the critic will be shown them, with what each should show.

Of a draft only what the generator was given is known: a common name, or a reference picture of a nameless or rare look,
fresh renders both. So what a row says holds as often as the generator draws it rightly.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random

import numpy as np

from ragdemo.models.diffusion import load_generator
from ragdemo.models.interfaces import Drawing
from ragdemo.pocket.captions import caption
from ragdemo.pocket.look import Look
from ragdemo.pocket.pool import SHARD, describe_sample
from ragdemo.pocket.render import SIZE
from ragdemo.pocket.sampling import Sample, compose
from ragdemo.pocket.scenes import SCENES
from ragdemo.pocket.species import common_kinds, nameless, of_tier
from ragdemo.pocket.train.loop import Context
from ragdemo.pocket.train.words import letter_noise
from ragdemo.profiles import get_profile

STREAM = "train/drafts"
FOLDER = "drafts-train-drafts"
COUNT = 4000
BATCH = 8
STEPS = (8, 16)
COMMON_SHARE, RARE_SHARE = 0.35, 0.3


def train_drafts(context: Context) -> None:
    """Draw `--steps` pictures (4,000 where none is said) and keep them as a pool; whole shards are not drawn again."""
    generator = load_generator(get_profile("pocket"), context.device.type)
    folder = context.pools / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    count = context.steps or COUNT
    for start in range(0, count, SHARD):
        indices = range(start, min(start + SHARD, count))
        file = folder / f"{start:07d}.npy"
        if file.exists() and len(np.load(file, mmap_mode="r")) >= len(indices):
            continue
        rows, pictures = [], []
        for first in range(start, indices.stop, BATCH):
            samples = [draft(i) for i in range(first, min(first + BATCH, indices.stop))]
            for shown in (True, False):  # drawings with a reference and without cannot be made together
                chosen = [pair for pair in samples if bool(pair[1].references) == shown]
                pictures += [np.asarray(image) for image in generator.draw_many([d for _, d in chosen])]
                rows += [[describe_sample(sample)] for sample, _ in chosen]
            print(f"critic-drafts {len(rows) + start}/{count}", flush=True)
        _write(folder / f"{start:07d}.json", json.dumps(rows).encode())
        partial = file.with_suffix(".part")
        with partial.open("wb") as stream:
            np.save(stream, np.stack(pictures)[:, None])
        os.replace(partial, file)


def draft(index: int) -> tuple[Sample, Drawing]:
    """What draft `index` should show, and how it is drawn; batches of eight share their number of steps."""
    rng = Random(f"{STREAM}/{index}")
    chance, kind = rng.random(), rng.choice(common_kinds())
    if chance < COMMON_SHARE:
        name, look = _species("common", kind, rng)
        words, told = name, False
    elif chance < COMMON_SHARE + RARE_SHARE:
        name, look = _species("rare", kind, rng)
        words, told = name, True
    else:
        name, look = None, nameless(kind, rng)
        words, told = (f"{letter_noise(rng)} {kind}" if rng.random() < 0.5 else kind), True
    scene, elsewhere = rng.sample(SCENES, 2)
    sample = Sample(compose([look], scene, rng), caption([words], scene, rng), (name,))
    references = (compose([look], elsewhere, rng).render(SIZE),) if told else ()
    steps = STEPS[Random(f"{STREAM}/steps/{index // BATCH}").random() < 0.7]
    return sample, Drawing(sample.caption, rng.getrandbits(32), references, steps)


def _species(tier: str, kind: str, rng: Random) -> tuple[str, Look]:
    species = rng.choice([s for s in of_tier(tier) if s.look.kind == kind])
    return species.name, species.look


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(path.suffix + ".part")
    partial.write_bytes(data)
    os.replace(partial, path)
