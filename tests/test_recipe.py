"""Recipes travel inside PNGs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ragdemo.errors import UserError
from ragdemo.recipe import PNG_KEY, UNKNOWN_CONTENT, Recipe, read_png, save_png
from ragdemo.request import MAX_SEED, Choices, ImageRef, Request

OWN = ImageRef(sha256="ab" * 32, name="d.png")
RECIPE = Recipe(
    Request(
        prompt="a quixel butterfly 雪 in the “snow”",
        seed=MAX_SEED,
        settings={"steps": 4, "mode": "generation", "similarity_threshold": None},
        choices=Choices(rejected=("a",), pinned=("b", "c"), own=(OWN,)),
    ),
    ("b", "c"),
    "f00",
    {"torch": "2.15"},
    {"generator": "0123"},
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
    with pytest.raises(UserError, match=r"x\.png cannot be read; choose a PNG file"):
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
        '{"request": {"prompt": "a", "pinned": "abc"}, "references": [], "library_fingerprint": "", "versions": {}}',
        '{"request": {"prompt": "a", "own_images": ""}, "references": [], "library_fingerprint": "", "versions": {}}',
        '{"request": {"prompt": "a", "pinned": [7]}, "references": [], "library_fingerprint": "", "versions": {}}',
        '{"request": {"prompt": "a"}, "references": "abc", "library_fingerprint": "", "versions": {}}',
        '{"request": {"prompt": "a"}, "references": [], "library_fingerprint": 5, "versions": {}}',
        '{"request": {"prompt": "a"}, "references": [], "library_fingerprint": "", "versions": {"torch": 2}}',
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
    with pytest.raises(UserError, match=r"x\.png has over 36,000,000 pixels"):
        read_png(tmp_path / "x.png")


def test_a_recipe_in_another_format_is_not_read(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png", format="JPEG")
    with pytest.raises(UserError, match="choose a PNG file"):
        read_png(tmp_path / "x.png")


def test_one_own_image_does_not_become_the_letters_of_its_name(tmp_path: Path) -> None:
    data = RECIPE.to_json()
    data["request"] = {"prompt": "a fox", "own_images": "d.png"}
    info = PngInfo()
    info.add_itxt(PNG_KEY, json.dumps(data))
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(UserError, match=r"The recipe in x\.png is damaged"):
        read_png(tmp_path / "x.png")


def test_a_recipe_of_the_first_edition_is_read(tmp_path: Path) -> None:
    request = {
        "prompt": "a fox",
        "method": "imagerag",
        "seed": 3,
        "profile": "pocket",
        "library": "pocket",
        "settings": {"steps": 4},
        "rejected": ["a"],
        "pinned": ["b"],
        "own_images": ["d.png"],
    }
    data = {"request": request, "references": ["b"], "library_fingerprint": "f", "versions": {}}
    choices = Recipe.from_json(data).request.choices
    assert (choices.rejected, choices.pinned) == (("a",), ("b",))
    assert choices.own == (ImageRef(sha256=UNKNOWN_CONTENT, name="d.png"),)


def test_folders_stay_on_the_machine(tmp_path: Path) -> None:
    request = Request(prompt="a fox", library="/home/me/private", choices=Choices(own=(OWN,)))
    save_png(Image.new("RGB", (4, 4)), Recipe(request, (), "f", {}), tmp_path / "x.png")
    assert b"/home/me" not in (tmp_path / "x.png").read_bytes()
    assert read_png(tmp_path / "x.png").request.choices.own == (OWN,)


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
