"""Stage `realrag`: RealRAG's retrieval heads on the frozen encoder, from a library's *train* split."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ragdemo.errors import UserError
from ragdemo.library.index import VectorIndex, open_index
from ragdemo.library.store import Library, open_library
from ragdemo.library.vectors import SHIPPED_FOLDER
from ragdemo.methods.realrag.head import VARIANTS, HeadedEncoder, save_head
from ragdemo.methods.realrag.mining import TrainingSet, class_names, draw_classes, gather
from ragdemo.methods.realrag.training import HeadSettings, epoch_steps, train_head, training_key
from ragdemo.models.base import JointEncoder
from ragdemo.models.diffusion import load_generator
from ragdemo.models.downloads import require_downloads
from ragdemo.models.encoder import load_encoder
from ragdemo.models.fingerprints import fingerprint
from ragdemo.profiles import get_profile
from ragdemo.training.cache import save_array
from ragdemo.training.export import shipped_card, write_card
from ragdemo.training.hardware import device_name
from ragdemo.training.keys import key_of
from ragdemo.training.loop import Context
from ragdemo.training.recall import WORDINGS, library_recall

TRAIN, EVAL = "train", "eval"


def train_realrag(context: Context) -> None:
    """Write the heads `normal` and `real` of the context's profile, each with a card.

    Raises `UserError` if the library's metadata names no species, or if a model would have to be downloaded without
    permission.
    """
    library = _library(context)
    class_names(library, _split(library))  # before anything is downloaded or loaded
    # the critic takes no part in this stage and is not fetched
    require_downloads(get_profile(context.profile), ("encoder", "generator"), context.allow_download)
    encoder, index = _index(context, library)
    data = training_set(context, library, encoder, index)
    settings = HeadSettings()
    figures: dict[str, Any] = {
        "reflective_negatives_of_the_same_species": _same_species_share(data),
        "zero": _recall(encoder, library, index),
    }
    folder = context.assets.parent / context.profile / "realrag"
    _announce(context, folder, library)
    for variant in VARIANTS:
        start = time.monotonic()
        name = f"realrag-{context.profile}-{variant}-{training_key(data, variant, settings)}"
        state = context.states / f"{name}.pt"
        head = train_head(data, variant, settings, state, lambda text: print(text, flush=True), context.steps)
        save_head(head, folder / variant, encoder.fingerprint)
        headed = HeadedEncoder(encoder, head)
        moved = VectorIndex(index.ids, headed.transform(index.matrix), index.unreadable)
        figures[variant] = _recall(headed, library, moved)
        minutes = round((time.monotonic() - start) / 60, 2)
        facts = _facts(context, library, data, settings)
        write_card(folder / variant, {**facts, "minutes": minutes, "state": name, "figures": figures})
        print(f"realrag {variant} {figures[variant]}", flush=True)


def training_set(
    context: Context, library: Library, encoder: JointEncoder, index: VectorIndex
) -> TrainingSet:
    """Frozen features of the split, and what the generator draws of each species by itself."""
    vectors = dict(zip(index.ids, index.matrix, strict=True))
    split = _split(library)
    names = class_names(library, split)
    return gather(library, split, encoder, vectors, _drawn(context, encoder, names))


def _library(context: Context) -> Library:
    """The library by name or path; the shipped one lies among the assets that training writes."""
    return open_library(context.assets / "library" if context.library == "pocket" else context.library)


def _split(library: Library) -> str | None:
    """The training split; all of a library without splits. Raises `UserError` if it has others only."""
    if library.splits and TRAIN not in library.splits:
        raise UserError(
            f"The library {library.name} has no split {TRAIN!r} but {', '.join(library.splits)}; "
            "mark in its metadata what the heads may learn from."
        )
    return TRAIN if library.splits else None


def _index(context: Context, library: Library) -> tuple[JointEncoder, VectorIndex]:
    encoder = load_encoder(get_profile(context.profile).spec("encoder"))
    shipped = library.folder / SHIPPED_FOLDER
    own = context.profile == "pocket" and context.library == "pocket"
    return encoder, open_index(library, encoder, shipped if own else None)


def _drawn(context: Context, encoder: JointEncoder, names: tuple[str, ...]) -> np.ndarray:
    """Vectors of the generator's own pictures `(C, D)`; an interrupted drawing is resumed."""
    profile = get_profile(context.profile)
    spec = profile.spec("generator")
    generator = load_generator(spec, context.device.type)
    models = [fingerprint(spec), encoder.fingerprint]
    inputs = {"names": names, "sampling": dict(spec.defaults), "models": models}
    file = context.workdir / "realrag" / f"drawn-{profile.name}-{key_of(inputs)}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    done = np.load(file) if file.exists() else np.zeros((0, encoder.embed_texts([""]).shape[1]), np.float32)
    for vectors in draw_classes(generator, encoder, names[len(done) :], seed=len(done)):
        done = np.concatenate([done, vectors])
        save_array(file, done)
        print(f"realrag draws {len(done)}/{len(names)}", flush=True)
    return done


def _announce(context: Context, folder: Path, library: Library) -> None:
    """Say which heads are replaced if they were trained on another library."""
    card = shipped_card(folder / VARIANTS[0])
    if card is not None and not str(card.get("data", "")).startswith(f"{library.name},"):
        print(f"realrag replaces the heads in {folder}, which were trained on {card.get('data')}", flush=True)


def _facts(
    context: Context, library: Library, data: TrainingSet, settings: HeadSettings
) -> dict[str, object]:
    """Training facts for a head's card."""
    return {
        "data": f"{library.name}, split {_split(library) or 'none'}, {len(data.images)} pictures",
        "library": library.fingerprint,
        "generator": f"{context.profile} base, one drawing per species",
        "steps": context.steps or settings.epochs * epoch_steps(data, settings),
        "device": device_name(context.device),
        "torch": torch.__version__,
        "settings": vars(settings),
    }


def _same_species_share(data: TrainingSet) -> float:
    negatives = data.reflective_negatives()
    return round(float((data.image_species[negatives] == np.arange(len(data.names))).mean()), 4)


def _recall(encoder: JointEncoder, library: Library, index: VectorIndex) -> dict[str, dict[str, float]]:
    """Recall@1 by wording and tier on the split that the heads never saw; empty if there is none."""
    if EVAL not in library.splits:
        return {}
    return {wording: library_recall(encoder, library, index, EVAL, wording) for wording in WORDINGS}
