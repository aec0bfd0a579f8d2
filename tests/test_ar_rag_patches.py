"""AR-RAG's mathematics on toy codebooks, against the definitions written out."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
import torch

from ragdemo.methods.ar_rag import daid
from ragdemo.methods.ar_rag.condition import PatchSource
from ragdemo.methods.ar_rag.patches import (
    ExactSearch,
    Neighbours,
    Patches,
    PlacedSearch,
    RandomSearch,
    has_key,
    key_at,
)

CODES, GRID, PICTURES = 40, 5, 6
RNG = np.random.default_rng(3)
GRIDS = RNG.integers(0, CODES, (PICTURES, GRID, GRID)).astype(np.uint16)
BOOK = torch.nn.functional.normalize(
    torch.randn(CODES, 8, generator=torch.Generator().manual_seed(1)), dim=-1
)
IDS = [f"picture-{number}" for number in range(PICTURES)]


def patches() -> Patches:
    return Patches(IDS, GRIDS)


def test_a_patch_is_a_code_whose_four_earlier_neighbours_are_inside_the_picture() -> None:
    found, number = patches(), 0
    for picture, grid in enumerate(GRIDS):
        for row in range(1, GRID):
            for column in range(1, GRID - 1):
                key = [
                    grid[row - 1, column - 1],
                    grid[row - 1, column],
                    grid[row - 1, column + 1],
                    grid[row, column - 1],
                ]
                assert found.keys[:, number].tolist() == [int(code) for code in key]
                assert int(found.values[number]) == int(grid[row, column])
                assert found.origin(torch.tensor(number)).tolist() == [picture, row, column]
                assert has_key(row * GRID + column, GRID)
                number += 1
    assert number == len(found) == found.keys.shape[1]
    assert sum(has_key(position, GRID) for position in range(GRID**2)) == (GRID - 1) * (GRID - 2)


def test_the_16x16_codes_of_a_picture_give_210_patches() -> None:
    assert len(Patches(["one"], np.zeros((1, 16, 16), np.uint16))) == 210


def test_the_key_that_is_asked_for_is_the_one_that_a_patch_is_kept_under() -> None:
    flat = torch.from_numpy(GRIDS.reshape(PICTURES, -1).astype(np.int64))
    position = 2 * GRID + 3
    mine = patches()
    numbers = [n for n in range(len(mine)) if mine.origin(torch.tensor(n)).tolist()[1:] == [2, 3]]
    assert torch.equal(key_at(flat, position, GRID), mine.keys[:, numbers].T.long())


def test_distances_are_exact() -> None:
    key = torch.tensor([3, 1, 4, 1])
    vectors = BOOK[patches().keys.T.long()].reshape(-1, 32).numpy()
    index = faiss.IndexFlatL2(32)
    index.add(vectors)
    found = ExactSearch(patches(), BOOK).nearest(key, 10)
    expected, numbers = index.search(BOOK[key].reshape(1, 32).numpy(), 10)
    assert np.abs(found.distances.numpy() - expected[0]).max() < 1e-5
    assert found.patches.tolist() == numbers[0].tolist()
    assert torch.equal(found.values, patches().values[found.patches])


@pytest.mark.parametrize("weight", [0.01, 0.5, 20.0])
@pytest.mark.parametrize("k", [1, 7, 10_000])
def test_key_and_place_are_searched_exactly(weight: float, k: int) -> None:
    mine = patches()
    search, places = PlacedSearch(mine, BOOK, weight), mine.origin(torch.arange(len(mine)))[:, 1:]
    for position in (place for place in range(GRID**2) if has_key(place, GRID)):
        key = torch.from_numpy(RNG.integers(0, CODES, 4))
        apart = (places - torch.tensor(divmod(position, GRID))).square().sum(1)
        expected = ExactSearch(mine, BOOK).distances(key) + weight * apart
        found = search.nearest(key, k, position)
        assert torch.allclose(found.distances, expected.sort().values[:k], atol=1e-5)
        assert torch.allclose(found.distances, expected[found.patches], atol=1e-5)
        assert torch.equal(found.values, mine.values[found.patches])


def test_searches_that_find_other_patches_are_told_apart() -> None:
    mine = patches()
    searches = [ExactSearch(mine, BOOK), PlacedSearch(mine, BOOK, 0.5), PlacedSearch(mine, BOOK, 1.0)]
    searches += [RandomSearch(mine, 1), RandomSearch(mine, 2)]
    assert len({PatchSource(mine, search).identity for search in searches}) == len(searches)


def test_more_neighbours_than_there_are_is_all_of_them() -> None:
    assert len(ExactSearch(patches(), BOOK).nearest(torch.tensor([0, 0, 0, 0]), 10_000).values) == len(
        patches()
    )


def test_without_a_picture_its_patches_are_gone() -> None:
    fewer = patches().without(["picture-2", "no such picture"])
    assert fewer.ids == tuple(name for name in IDS if name != "picture-2")
    assert len(fewer) == len(patches()) * 5 // 6
    same = patches()
    assert same.without([]) is same


@pytest.mark.parametrize("temperature", [0.01, 0.3, 5.0])
def test_the_retrieved_distribution_is_that_of_the_definition(temperature: float) -> None:
    distances = torch.tensor([0.1, 0.4, 0.4, 0.9, 2.0], dtype=torch.float64)
    values = torch.tensor([7, 3, 7, 0, 3])
    scale = temperature * 0.4  # the median
    expected = np.zeros(CODES)
    for distance, value in zip(distances.tolist(), values.tolist(), strict=True):
        expected[value] += np.exp(-distance / scale)
    expected /= expected.sum()
    found = daid.retrieved_distribution(Neighbours(distances, values, values), temperature, CODES)
    assert np.allclose(found.numpy(), expected, atol=1e-12)


def test_neighbours_that_all_agree_leave_a_distribution() -> None:
    same = Neighbours(torch.zeros(4), torch.tensor([1, 1, 2, 1]), torch.arange(4))
    assert daid.retrieved_distribution(same, 0.3, CODES)[[1, 2]].tolist() == [0.75, 0.25]


def test_the_mixture_is_between_both() -> None:
    model, retrieved = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    assert daid.mixed(model, retrieved, 0.25).tolist() == [0.375, 0.375, 0.25]
    assert torch.equal(daid.mixed(model, retrieved, 0.0), model)
    assert torch.equal(daid.mixed(model, retrieved, 1.0), retrieved)


@pytest.mark.parametrize("weight", [0.2, 0.5, 0.8])
def test_agreement_is_the_product_of_model_and_spread_patches(weight: float) -> None:
    model = torch.softmax(torch.randn(CODES, generator=torch.Generator().manual_seed(2)).double(), 0)
    distances, values = torch.tensor([0.1, 0.3, 0.9]).double(), torch.tensor([4, 9, 4])
    found = Neighbours(distances, values, values)
    spread = np.zeros(CODES)
    for share, value in zip(daid.weights(distances, 0.3).tolist(), values.tolist(), strict=True):
        alike = np.exp(daid.SHARPNESS * (BOOK[value] @ BOOK.T).double().numpy())
        spread += share * alike / alike.sum()
    retrieved = daid.spread_distribution(found, 0.3, BOOK.double())
    assert np.allclose(retrieved, spread, atol=1e-9)
    expected = model.numpy() * (spread + 1e-4) ** (weight / (1 - weight))
    assert np.allclose(daid.agreed(model, retrieved, weight), expected / expected.sum(), atol=1e-9)


def test_agreement_has_room_at_both_ends() -> None:
    model, retrieved = torch.tensor([0.9, 0.1, 0.0]), torch.tensor([0.1, 0.9, 0.0])
    assert torch.allclose(daid.agreed(model, retrieved, 0.0), model, atol=1e-6)
    assert daid.agreed(model, retrieved, 1.0).argmax() == 1
    assert torch.isfinite(daid.agreed(model, retrieved, 1.0)).all()


def test_uncertainty_is_a_share_of_the_greatest_entropy() -> None:
    sure, even = torch.eye(8)[0], torch.full((8,), 1 / 8)
    assert float(daid.uncertainty(sure)) == 0
    assert float(daid.uncertainty(even)) == pytest.approx(1, abs=1e-6)
