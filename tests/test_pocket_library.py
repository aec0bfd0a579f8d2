"""The shipped reference library: whole, split, and of the size that was promised."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ragdemo.library.store import Library, file_sha256, open_library
from ragdemo.training.library import PER_SPLIT, SPLITS, draw_library, library_stream
from ragdemo.world.sampling import species_sample
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import by_name, roster

MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def library() -> Library:
    return open_library("pocket")


def test_every_file_is_what_its_row_says(library: Library) -> None:
    assert all(file_sha256(library.path(row.id)) == row.sha256 for row in library.rows)


def test_every_species_has_its_pictures_in_both_splits(library: Library) -> None:
    assert library.splits == tuple(sorted(SPLITS))
    counts = Counter((row.extra["species"], row.split) for row in library.rows)
    assert set(counts.values()) == {PER_SPLIT}
    assert {name for name, _ in counts} == set(by_name())
    assert PER_SPLIT * len(SPLITS) >= 12


def test_rows_tell_the_truth(library: Library) -> None:
    for row in library.rows:
        species = by_name()[row.extra["species"]]
        assert species.name in row.caption
        assert (row.extra["kind"], row.extra["tier"]) == (species.look.kind, species.tier)
        assert row.extra["scene"] in SCENES


def test_no_picture_is_there_twice(library: Library) -> None:
    assert len({row.sha256 for row in library.rows}) == len(library)


def test_it_stays_small(library: Library) -> None:
    size = sum(path.stat().st_size for path in Path(library.folder).rglob("*") if path.is_file())
    assert size <= MOST_BYTES


def test_drawing_it_again_gives_the_same_pictures(library: Library, tmp_path: Path) -> None:
    species = (roster()[0], roster()[-1])
    again = draw_library(tmp_path / "library", species, per_split=1)
    assert len(again) == 4
    for row in again.rows:
        kept = library.row(row.id)
        assert (kept.caption, kept.extra) == (row.caption, row.extra)
        sample = species_sample(by_name()[row.extra["species"]], library_stream(row.split or ""), 0)
        for image in (
            library.image(row.id),
            again.image(row.id),
        ):  # WebP loses little, however it was compiled
            assert np.abs(np.asarray(image, float) - np.asarray(sample.image(), float)).mean() < 6
