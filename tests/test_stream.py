"""What generators learn from, checked on the training streams themselves: no secret name or look, mostly nameless."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ragdemo.library.store import open_library
from ragdemo.training import diffusion, drafts, image_encoder, labelled, material
from ragdemo.training.latents import COUNT, DUO_SHARE, SETS
from ragdemo.training.library import PER_SPLIT, SPLITS, library_stream
from ragdemo.world.kinds import KINDS, NOVEL_KINDS
from ragdemo.world.pool import PoolSpec, describe_sample, item, render_pool
from ragdemo.world.sampling import Sample, species_sample
from ragdemo.world.species import EXCLUSION, by_name, distance_to_secret, of_tier, roster

POOLS = (PoolSpec("generator", "train/generator", 24_000), PoolSpec("pairs", "train/pairs", 12_000))
SECRET_NAMES = frozenset(species.name.split()[0] for tier in ("rare", "novel") for species in of_tier(tier))
ITEMS = 401
"""Items looked at of each stream."""


@cache
def items(name: str) -> list[Sequence[Sample]]:
    """Items of a set that the diffusion base trains on, all over it, without their pixels."""
    count = int(COUNT * DUO_SHARE) if name == "duos" else COUNT
    return [SETS[name](f"train/latents/{name}", index) for index in range(0, count, count // ITEMS)]


@cache
def stream(name: str) -> list[Sample]:
    """The pictures of a set, or of a pool that the encoders train on."""
    if name in SETS:
        return [sample for one in items(name) for sample in one]
    spec = next(spec for spec in POOLS if spec.folder == name)
    return [sample for index in range(0, spec.count, spec.count // ITEMS) for sample in item(spec, index)]


STREAMS = (*SETS, *(spec.folder for spec in POOLS))


@pytest.mark.parametrize("name", STREAMS)
def test_no_secret_is_told(name: str) -> None:
    for sample in stream(name):
        assert not SECRET_NAMES & set(sample.caption.replace(",", "").split())
        assert not any(kind in sample.caption for kind in NOVEL_KINDS)
        assert all(name is None or by_name()[name].tier == "common" for name in sample.names)


@pytest.mark.parametrize("name", STREAMS)
def test_no_secret_is_shown(name: str) -> None:
    looks = {look for sample in stream(name) for look in sample.picture.looks}
    assert not any(look.kind in NOVEL_KINDS for look in looks)
    assert min(distance_to_secret(look) for look in looks if look.kind in KINDS) >= EXCLUSION


@pytest.mark.parametrize("name", STREAMS)
def test_most_things_are_nameless(name: str) -> None:
    pictures = stream(name)
    assert sum(None in sample.names for sample in pictures) >= len(pictures) / 2


def test_most_of_what_a_generator_is_shown_is_nameless() -> None:
    def share(name: str) -> float:
        shown = [one[0] for one in items(name)]
        return sum(not any(sample.names) for sample in shown) / len(shown)

    nameless = {"plain": 1 - material.NAMED_SHARE, "pair": share("pairs"), "duo": share("duos")}
    nameless["one of two"] = nameless["duo"]
    assert sum(nameless[lesson] for lesson in diffusion.LESSONS) >= len(diffusion.LESSONS) / 2


def test_a_pair_of_things_is_shown_together_and_alone_elsewhere() -> None:
    for both, first, second in items("duos")[:20]:
        assert both.picture.looks == (*first.picture.looks, *second.picture.looks)
        assert len({sample.picture.scene for sample in (both, first, second)}) == 3
        assert len({look.kind for look in both.picture.looks}) == 2


def test_common_names_alone_are_secret_from_nobody() -> None:
    named = {name for sample in stream("singles") for name in sample.names if name}
    assert named <= {species.name for species in of_tier("common")}
    assert len(named) > 60


def test_no_library_picture_is_a_training_picture() -> None:
    pools = (labelled.SPECIES_POOL, labelled.VALIDATION_POOL, *POOLS)
    trained = {spec.stream for spec in pools} | {drafts.STREAM, image_encoder.STREAM}
    trained |= {f"train/latents/{name}" for name in SETS}
    assert not any(library_stream(split) in trained for split in SPLITS)
    for species in roster()[::37]:
        shown = [{species_sample(species, name, i).picture for i in range(PER_SPLIT)} for name in trained]
        kept = [
            {species_sample(species, library_stream(split), i).picture for i in range(PER_SPLIT)}
            for split in SPLITS
        ]
        assert len(set().union(*shown, *kept)) == PER_SPLIT * (len(trained) + len(SPLITS))


def test_the_library_holds_its_own_streams() -> None:
    library = open_library("pocket")
    for species in roster()[::37]:
        for split in SPLITS:
            rows = [row for row in library.rows_of(split) if row.extra["species"] == species.name]
            drawn = [species_sample(species, library_stream(split), i) for i in range(len(rows))]
            assert [row.caption for row in rows] == [sample.caption for sample in drawn]


def test_a_pool_goes_on_where_it_stopped(tmp_path: Path) -> None:
    spec = PoolSpec("generator", "test/pool", 3)
    first = render_pool(spec, tmp_path, workers=1)
    pixels = first.images(np.arange(3)).copy()
    (tmp_path / spec.folder / "0000000.npy").unlink()
    again = render_pool(spec, tmp_path, workers=1)
    assert (again.images(np.arange(3)) == pixels).all()
    rows = [[describe_sample(sample) for sample in item(spec, i)] for i in range(3)]
    assert again.rows == json.loads(json.dumps(rows))
