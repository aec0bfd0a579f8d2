"""Recipes travel inside PNGs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ragdemo.recipe import Recipe, read_png, save_png
from ragdemo.types import MAX_SEED, Request, UserError

RECIPE = Recipe(
    Request(
        "a quixel butterfly 雪 in the “snow”",
        seed=MAX_SEED,
        settings={"steps": 4, "mode": "generation", "similarity_threshold": None},
        rejected=("a",),
        pinned=("b", "c"),
        own_images=("d.png",),
    ),
    ("b", "c"),
    "f00",
    {"torch": "2.15"},
)


def test_a_recipe_survives_its_png(tmp_path: Path) -> None:
    save_png(Image.new("RGB", (4, 4), "red"), RECIPE, tmp_path / "x.png")
    assert read_png(tmp_path / "x.png") == RECIPE


def test_a_picture_without_recipe_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match="carries no recipe"):
        read_png(tmp_path / "x.png")


def test_a_cut_off_picture_says_so(tmp_path: Path) -> None:
    save_png(Image.effect_noise((90, 90), 50), RECIPE, tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="not a readable picture"):
        read_png(tmp_path / "x.png")


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": ""},
        {"prompt": " \n"},
        {"prompt": "x" * 5000},
        {"prompt": "a\0b"},
        {"prompt": "a fox", "seed": -1},
        {"prompt": "a fox", "seed": 2**32},
        {"prompt": "a fox", "seed": True},
        {"prompt": "a fox", "seed": 1.5},
    ],
)
def test_bad_requests_are_refused(fields: dict) -> None:
    with pytest.raises(UserError):
        Request(**fields)


def test_unknown_fields_of_a_request_are_named() -> None:
    with pytest.raises(UserError, match="tempo"):
        Request.from_json({"prompt": "a fox", "tempo": 3})
