"""Recipes travel inside PNGs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ragdemo.recipe import PNG_KEY, Recipe, read_png, save_png
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
    "text",
    [
        "{",
        "[]",
        '{"request": 5, "references": [], "library_fingerprint": "", "versions": {}}',
        '{"request": {"prompt": 5}, "references": [], "library_fingerprint": "", "versions": {}}',
        '{"request": {"prompt": "a", "settings": null}, "references": [], "library_fingerprint": "", "versions": {}}',
        '{"request": {"prompt": "a", "method": []}, "references": [], "library_fingerprint": "", "versions": {}}',
        '{"request": {"prompt": "a", "own_images": 7}, "references": [], "library_fingerprint": "", "versions": {}}',
        '{"request": {"prompt": "a"}, "references": [], "library_fingerprint": "", "versions": "abc"}',
        "[" * 100_000,
    ],
)
def test_a_strangers_recipe_is_a_sentence(text: str, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt(PNG_KEY, text)
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(UserError):
        read_png(tmp_path / "x.png")


def test_a_huge_picture_is_a_sentence(tmp_path: Path) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x\.png is not a readable picture"):
        read_png(tmp_path / "x.png")


def test_folders_stay_on_the_machine(tmp_path: Path) -> None:
    request = Request("a fox", library="/home/me/private", own_images=("/home/me/d.png",))
    save_png(Image.new("RGB", (4, 4)), Recipe(request, (), "f", {}), tmp_path / "x.png")
    assert b"/home/me" not in (tmp_path / "x.png").read_bytes()
    assert read_png(tmp_path / "x.png").request.own_images == ("d.png",)


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
