"""Damage to a checkpoint is noticed before it draws a wrong picture, and named with its remedy."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ragdemo.errors import UserError
from ragdemo.models.base import CRITIC
from ragdemo.models.registry import Models
from ragdemo.profiles import ASSETS, POCKET
from ragdemo.weights import CARD, check_files, checksums

NO_CHECKPOINTS = {"library", "recordings", "vocabulary.json"}


@pytest.fixture
def critic(tmp_path: Path) -> Path:
    """A copy of the shipped critic."""
    return Path(shutil.copytree(ASSETS / "pocket" / "critic", tmp_path / "critic"))


def load(folder: Path, **options: str) -> str:
    """The sentence with which loading a critic from a folder ends; its loader does not exist."""
    spec = replace(POCKET.spec("critic"), weights=str(folder), loader="nowhere:load", options=options)
    models = Models(replace(POCKET, roles={"critic": spec}))
    with pytest.raises((UserError, ModuleNotFoundError)) as caught:
        models.get(CRITIC)
    return str(caught.value)


def test_every_pocket_file_is_in_a_card_as_it_is() -> None:
    listed = {}
    for card in (ASSETS / "pocket").rglob(CARD):
        files = json.loads(card.read_text())["files"]  # written by `python -m scripts.checksums`
        assert files == checksums(card.parent), card.parent
        listed |= {card.parent / name: sum_ for name, sum_ in files.items()}
    folders = [one for one in (ASSETS / "pocket").iterdir() if one.name not in NO_CHECKPOINTS]
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != CARD}
    assert listed.keys() == files


def test_looking_for_damage_costs_little() -> None:
    begun = time.process_time()
    for folder in (ASSETS / "pocket").iterdir():
        check_files(folder, "rebuild it")
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "chat_template.jinja", CARD])
def test_damage_is_one_sentence_with_the_file_and_the_remedy(critic: Path, name: str) -> None:
    assert load(critic) == "No module named 'nowhere'"  # whole: its loader is asked
    data = bytearray((critic / name).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 65_536] = bytes(len(data[middle : middle + 65_536]))
    (critic / name).write_bytes(data)
    remedy = "rebuild it with `python -m ragdemo train critic-vision critic`."
    assert load(critic) == f"The checkpoint file critic/{name} is damaged; {remedy}"
    if name != CARD:
        (critic / name).unlink()
        assert (
            load(critic)
            == f"The checkpoint file critic/{name} cannot be read (No such file or directory); {remedy}"
        )


@pytest.mark.parametrize("option", ["adapter", "parts"])
def test_damage_to_what_options_add_is_noticed_too(critic: Path, option: str) -> None:
    whole = ASSETS / "pocket" / "critic"
    assert load(whole, **{option: str(critic)}) == "No module named 'nowhere'"
    (critic / "tokenizer.json").write_text("{}")
    assert "critic/tokenizer.json is damaged" in load(whole, **{option: str(critic)})


def test_a_folder_of_one_s_own_needs_no_card(critic: Path) -> None:
    (critic / CARD).unlink()
    assert load(critic) == "No module named 'nowhere'"
    (critic / CARD).write_text("{}")
    assert load(critic) == "No module named 'nowhere'"
    (critic / CARD).write_text("[]")
    assert "critic/card.json is damaged" in load(critic)
