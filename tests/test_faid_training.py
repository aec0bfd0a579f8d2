"""FAiD's training: what all positions see at once is what decoding sees one by one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_janus import WIDTH, save_janus
from torch import Tensor

from ragdemo.methods.ar_rag.condition import PatchRetrieval, PatchSource
from ragdemo.methods.ar_rag.faid import Blenders, Config, load_blenders
from ragdemo.methods.ar_rag.patches import ExactSearch, Patches, has_key, key_at
from ragdemo.methods.ar_rag.training import NONE, nearest_values, teacher_forced
from ragdemo.models.base import Drawing
from ragdemo.models.janus import JanusGenerator, load_janus
from ragdemo.profiles import Spec
from ragdemo.training import faid, janus, janus_model, janus_tokens, janus_vq, rendering
from ragdemo.training.janus import code_logits
from ragdemo.training.loop import Context
from ragdemo.world.pool import PoolSpec

GRID, CODES, K = 6, 64, 5
MATRIX = "model.language_model.layers.1.mlp.up_proj"


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> JanusGenerator:
    folder = save_janus(tmp_path_factory.mktemp("janus"), GRID, CODES)
    return load_janus(Spec("", str(folder), defaults={"guidance_scale": 1.0, "temperature": 1.0}), "cpu")


@torch.no_grad()
def lively() -> Blenders:
    torch.manual_seed(4)
    blenders = Blenders(Config(WIDTH, GRID, (0, 2), matrices=(MATRIX,), rank=4), [(64, WIDTH)])
    for parameter in blenders.parameters():
        if not parameter.any():
            parameter.normal_(std=0.3)
    return blenders.eval()


def grids(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CODES, (count, GRID, GRID)).astype(np.uint16)


def test_the_neighbours_of_all_positions_are_those_of_each(generator: JanusGenerator) -> None:
    mine, others = grids(1, 1)[0], grids(2, 4)
    book = generator.tokenizer.codebook
    found = nearest_values(
        torch.from_numpy(mine.astype(np.int64)), torch.from_numpy(others.astype(np.int64)), book, K
    )
    patches = Patches(list("abcd"), others)
    search, flat = ExactSearch(patches, book), torch.from_numpy(mine.astype(np.int64)).view(1, -1)
    for position in range(GRID**2):
        if has_key(position, GRID):
            expected = search.nearest(key_at(flat, position, GRID)[0], K).values
            assert sorted(found[position].tolist()) == sorted(expected.tolist())
        else:
            assert (found[position] == NONE).all()


class _Seen(PatchRetrieval):
    """A condition that keeps the distributions of the codes."""

    def steer(self, model: object, conditions: Sequence[PatchRetrieval]):
        steering = super().steer(model, conditions)
        mix, self.__dict__["seen"] = steering.mix, []

        def keep(position: int, probabilities: Tensor) -> Tensor:
            self.seen.append(probabilities[0])
            return mix(position, probabilities)

        steering.mix = keep  # type: ignore[method-assign]
        return steering


def test_a_picture_that_is_given_has_the_distributions_that_decoding_it_has(
    generator: JanusGenerator,
) -> None:
    blenders, others = lively(), grids(2, 4)
    book, model = generator.tokenizer.codebook, generator._model
    source = PatchSource.exact(Patches(list("abcd"), others), book)
    condition = _Seen(source, 0.0, 0.3, K, blenders=blenders)
    drawn = generator.draw_many([Drawing("a red fish", 5, condition=condition)])[0]
    codes = torch.from_numpy(drawn.extras["codes"].astype(np.int64))
    found = nearest_values(codes, torch.from_numpy(others.astype(np.int64)), book, K)[None]
    inputs = generator._inputs(["a red fish"])
    with torch.no_grad(), teacher_forced(blenders, model, found, inputs["input_ids"].shape[1]):
        logits = code_logits(model, inputs["input_ids"], inputs["attention_mask"], codes.view(1, -1))
    assert torch.allclose(logits[0].softmax(-1), torch.stack(condition.seen), atol=2e-4)  # type: ignore[attr-defined]
    with torch.no_grad():
        plain = code_logits(model, inputs["input_ids"], inputs["attention_mask"], codes.view(1, -1))
    assert not torch.allclose(plain, logits, atol=1e-2)


def test_only_the_blenders_learn(generator: JanusGenerator) -> None:
    blenders, model = lively().train(), generator._model.requires_grad_(False)
    inputs = generator._inputs(["a red fish"])
    codes = torch.from_numpy(grids(3, 1).astype(np.int64)).view(1, -1)
    found = torch.randint(0, CODES, (1, GRID**2, K))
    with teacher_forced(blenders, model, found, inputs["input_ids"].shape[1]):
        code_logits(model, inputs["input_ids"], inputs["attention_mask"], codes).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in blenders.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any("parametrizations" in name for name, _ in model.named_parameters())


def test_the_stages_run_and_write_blenders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(
        tmp_path / "work", tmp_path / "assets" / "pocket", torch.device("cpu"), steps=2, workers=1, count=6
    )
    monkeypatch.setattr(janus_vq, "GENERATOR_POOL", PoolSpec("generator", "test/faid", 4))
    monkeypatch.setattr(janus_vq, "BATCH", 2)
    monkeypatch.setattr(janus, "BATCH", 2)
    monkeypatch.setattr(janus_model, "LAYERS", 2)
    monkeypatch.setattr(faid, "LAYERS", (0, 1))
    monkeypatch.setattr(faid, "BATCH", 2)
    for stage in (janus_vq.train_janus_vq, janus_tokens.train_janus_tokens, janus.train_janus):
        stage(context)
    shutil.rmtree(janus_vq.vq_folder(context))  # as it is shipped, it is a part of the Janus
    for stage in (faid.train_faid_tokens, faid.train_faid):
        stage(context)
    blenders = load_blenders(Spec("", str(context.assets / "faid")), "cpu")
    assert blenders.config.layers == (0, 1)
    assert any(up.any() for up in blenders.up)


def test_a_family_shows_one_look() -> None:
    for index in range(20):
        looks = {one.picture.looks for one in rendering.family("test/family", index)}
        scenes = [one.picture.scene for one in rendering.family("test/family", index)]
        assert len(looks) == 1
        assert len(set(scenes)) == len(scenes) == rendering.FAMILY + 1
