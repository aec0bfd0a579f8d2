"""The critic adapter on a LLaVA of random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_models import save_critic, spec_of

from ragdemo.errors import UserError
from ragdemo.models.critic import TransformersCritic, load_critic


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("critic")
    save_critic(folder)
    return folder


@pytest.fixture(scope="module")
def critic(folder: Path) -> TransformersCritic:
    return load_critic(spec_of("critic", folder), "cpu")


@pytest.mark.parametrize("image", [None, Image.new("RGB", (50, 90), "green")])
def test_greedy_replies_repeat(critic: TransformersCritic, image: Image.Image | None) -> None:
    reply = critic.ask("Does this image match?", image)
    assert isinstance(reply, str)
    assert reply == critic.ask("Does this image match?", image, seed=5)


def test_sampling_is_seeded_and_leaves_the_global_generator_alone(critic: TransformersCritic) -> None:
    state = torch.get_rng_state()
    first = critic.ask("What is missing?", None, temperature=0.8, seed=1)
    assert first == critic.ask("What is missing?", None, temperature=0.8, seed=1)
    assert first != critic.ask("What is missing?", None, temperature=0.8, seed=2)
    assert torch.equal(state, torch.get_rng_state())


def test_the_question_itself_is_not_in_the_reply(critic: TransformersCritic) -> None:
    assert "What is missing" not in critic.ask("What is missing?", None)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    remedy = "gone is missing; rebuild it with `python -m ragdemo train critic-vision critic`"
    with pytest.raises(UserError, match=remedy):
        load_critic(spec_of("critic", tmp_path / "gone"), "cpu")


def test_a_damaged_folder_is_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        load_critic(spec_of("critic", tmp_path), "cpu")
