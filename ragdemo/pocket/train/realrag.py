"""Stage `realrag`: RealRAG's retrieval heads on the frozen encoder, from the library's *train* split alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch

from ragdemo.evaluation.retrieval import WORDINGS, library_recall
from ragdemo.library.index import VectorIndex, open_index
from ragdemo.library.store import Library, open_library
from ragdemo.library.vectors import SHIPPED_FOLDER
from ragdemo.methods.realrag.head import HeadedEncoder, save_head
from ragdemo.methods.realrag.mining import TrainingSet, class_names, draw_classes, gather
from ragdemo.methods.realrag.training import VARIANTS, HeadSettings, train_head
from ragdemo.models.diffusion import load_generator
from ragdemo.models.encoder import load_encoder
from ragdemo.models.interfaces import JointEncoder
from ragdemo.pocket.train.export import write_card
from ragdemo.pocket.train.loop import Context
from ragdemo.profiles import get_profile

SPLIT = "train"


def train_realrag(context: Context) -> None:
    """Write the heads `normal` and `real` of the context's profile, each with a card."""
    profile = get_profile(context.profile)
    library = open_library(context.assets / "library")
    encoder = load_encoder(profile.encoder, str(context.device))
    shipped = library.folder / SHIPPED_FOLDER
    index = open_index(library, encoder, shipped if profile.name == "pocket" else None)
    data = training_set(context, library, encoder, index)
    settings = HeadSettings(epochs=context.steps or HeadSettings.epochs)
    folder = context.assets.parent / profile.name / "realrag"
    negatives = data.reflective_negatives()
    figures = {
        "reflective_negatives_of_the_same_species": round(
            float((data.image_species[negatives] == np.arange(len(data.names))).mean()), 4
        ),
        "zero": _recall(encoder, library, index),
    }
    for variant in VARIANTS:
        start = time.monotonic()
        state = context.workdir / "states" / f"realrag-{profile.name}-{variant}.pt"
        head = train_head(data, variant, settings, state, say=lambda text: print(text, flush=True))
        save_head(head, folder / variant, encoder.fingerprint)
        headed = HeadedEncoder(encoder, head)
        moved = VectorIndex(index.ids, headed.transform(index.matrix), index.unreadable)
        figures[variant] = _recall(headed, library, moved)
        facts = {
            "data": f"{library.name}, split {SPLIT}, {len(data.images)} pictures",
            "generator": f"{profile.name} {context.generator}, one drawing a species",
            "steps": settings.epochs * -(-len(data.images) // settings.batch),
            "minutes": round((time.monotonic() - start) / 60, 2),
            "device": context.device.type,
            "torch": torch.__version__,
            "settings": vars(settings),
            "figures": figures,
        }
        write_card(folder / variant, facts)
        print(f"realrag {variant} {figures[variant]}", flush=True)


def training_set(
    context: Context, library: Library, encoder: JointEncoder, index: VectorIndex
) -> TrainingSet:
    """Frozen features of the split, and what the generator draws of each species by itself."""
    vectors = dict(zip(index.ids, index.matrix, strict=True))
    names = class_names(library, SPLIT)
    return gather(library, SPLIT, encoder, vectors, _drawn(context, encoder, names))


def _drawn(context: Context, encoder: JointEncoder, names: tuple[str, ...]) -> np.ndarray:
    """Vectors of the generator's own pictures `(C, D)`, drawn on where an earlier training stopped."""
    profile = get_profile(context.profile)
    generator = load_generator(profile, context.device.type)
    name = f"drawn-{profile.name}-{generator.fingerprint[:12]}-{encoder.fingerprint[:12]}.npy"
    file = context.workdir / "realrag" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    done = np.load(file) if file.exists() else np.zeros((0, encoder.embed_texts([""]).shape[1]), np.float32)
    for vectors in draw_classes(generator, encoder, names[len(done) :], seed=len(done)):
        done = np.concatenate([done, vectors])
        _replace(file, done)
        print(f"realrag draws {len(done)}/{len(names)}", flush=True)
    return done


def _replace(file: Path, array: np.ndarray) -> None:
    partial = file.with_suffix(".part")
    with partial.open("wb") as stream:
        np.save(stream, array)
    os.replace(partial, file)


def _recall(encoder: JointEncoder, library: Library, index: VectorIndex) -> dict[str, dict[str, float]]:
    return {wording: library_recall(encoder, library, index, "eval", wording) for wording in WORDINGS}
