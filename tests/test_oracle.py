"""The oracle: its training resumes to the same weights, and its folder round-trips."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pocket_training import STEPS
from safetensors.torch import load_file

from ragdemo.errors import UserError
from ragdemo.training.export import read_card
from ragdemo.training.labelled import FACTS, UNSTATED, damage, facts_of, number
from ragdemo.world.oracle import (
    OracleConfig,
    OracleNet,
    load_oracle,
    save_oracle,
    to_pixels,
    world_answers,
)
from ragdemo.world.pool import describe_sample
from ragdemo.world.sampling import species_sample
from ragdemo.world.species import roster

ROOT = Path(__file__).resolve().parent.parent
SMALL = OracleConfig((4, 8, 8), 16, world_answers())


@pytest.fixture
def small(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_oracle(tmp_path / "oracle", OracleNet(SMALL), SMALL)
    return tmp_path / "oracle"


def pictures(count: int, stream: str = "test/oracle") -> list[Image.Image]:
    return [species_sample(species, stream, 0).image() for species in roster()[:count]]


def test_it_answers_every_question_about_every_picture(small: Path) -> None:
    images = pictures(3)
    oracle = load_oracle(small)
    judgements = oracle.judge([images[0].resize((96, 200)), *images[1:]])
    assert len(judgements) == 3
    for judgement in judgements:
        assert set(judgement.probabilities) == set(FACTS)
        assert all(0 < p <= 1 for p in judgement.probabilities.values())
        assert all(getattr(judgement, fact) in world_answers()[fact] for fact in FACTS)
    assert oracle.judge([]) == []


def test_features_are_few_and_the_same_in_any_batch(small: Path) -> None:
    images, oracle = pictures(3), load_oracle(small)
    features = oracle.features(images)
    assert features.shape == (3, 16)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[1:2], oracle.features(images[1:2]), atol=1e-5)
    assert oracle.features([]).shape == (0, 16)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_or_missing_file_is_one_clear_sentence(small: Path, name: str) -> None:
    (small / name).write_bytes(b"{broken")
    with pytest.raises(UserError, match="train the stage oracle again"):
        load_oracle(small)
    (small / name).unlink()
    with pytest.raises(UserError, match="train the stage oracle again"):
        load_oracle(small)


def test_facts_are_numbered() -> None:
    sample = species_sample(roster()[5], "test/oracle", 0)
    facts = facts_of(describe_sample(sample))
    assert facts["species"] == roster()[5].name
    assert world_answers()["species"][number("species", facts["species"])] == facts["species"]
    assert number("species", "") == UNSTATED


def test_damaged_pictures_stay_pictures() -> None:
    pixels = to_pixels(np.stack([np.asarray(image) for image in pictures(8)]), torch.device("cpu"))
    harmed = damage(pixels.clone())
    assert harmed.shape == pixels.shape
    assert float(harmed.abs().max()) <= 1
    assert ((harmed - pixels).abs().mean((1, 2, 3)) > 0).all()


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _train(whole).wait(300) == 0
    shutil.copytree(whole / "pools", killed / "pools")
    process = _train(killed)
    states = killed / "states"
    deadline = time.monotonic() + 300
    while process.poll() is None and not any(states.glob("oracle-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "assets").exists(), "the training ended before it could be killed"
    assert _train(killed).wait(300) == 0
    first, second = (load_file(run / "assets" / "oracle" / "model.safetensors") for run in (whole, killed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert read_card(killed / "assets" / "oracle")["steps"] == STEPS


def _train(workdir: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "pocket_training.py"), str(workdir), "oracle"]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
