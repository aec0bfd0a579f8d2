"""The pocket encoder: what its texts claim, its long tail, and its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pocket_training import STEPS
from tokenizers import Tokenizer

from ragdemo.models.encoder import open_encoder
from ragdemo.training.encoder import Group, read_batch
from ragdemo.training.encoder_model import (
    CONTEXT,
    clip_pixels,
    contrastive_loss,
    encode_texts,
    load_model,
    new_model,
    save_encoder,
    tokenize,
)
from ragdemo.training.encoder_texts import (
    alt_text_name,
    contradicts,
    corpus,
    described_text,
    known_words,
    named_text,
    tail_species,
    train_tokenizer,
)
from ragdemo.training.export import read_card
from ragdemo.training.labelled import FACTS, UNSTATED, facts_of, number
from ragdemo.training.recall import WORDINGS, recall_by_tier
from ragdemo.world.pool import describe_sample
from ragdemo.world.sampling import generator_sample, species_sample
from ragdemo.world.species import by_name, roster

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    samples = [species_sample(species, "test/encoder", 0) for species in roster()]
    samples += [generator_sample("test/encoder", i) for i in range(60)]
    return [describe_sample(sample) for sample in samples if len(sample.names) == 1]


@pytest.fixture(scope="module")
def tokenizer(rows: list[dict]) -> Tokenizer:
    return train_tokenizer(corpus(rows))


def labels_of(rows: list[dict]) -> np.ndarray:
    return np.array([[number(fact, word) for fact, word in facts_of(row).items()] for row in rows])


def test_a_text_never_contradicts_its_own_picture(rows: list[dict]) -> None:
    rng = Random(0)
    texts = [described_text(row, rng) for row in rows]
    named = [row for row in rows if row["names"][0]]
    texts += [named_text(row["names"][0], row["scene"], rng) for row in named]
    labels = labels_of([*rows, *named])
    negative = contradicts(np.stack([claimed for _, claimed in texts]), labels)
    assert not negative.diagonal().any()
    assert negative.mean() > 0.8


def test_texts_are_negatives_only_where_they_claim_something_else() -> None:
    red, blue = (by_name()[name] for name in ("quixel butterfly", "velmor butterfly"))
    pictures = [describe_sample(species_sample(species, "test/encoder", 0)) for species in (red, blue)]
    named = named_text("quixel butterfly", pictures[0]["scene"], Random(3))[1]
    kind_alone = np.full(len(FACTS), UNSTATED)
    kind_alone[FACTS.index("kind")] = number("kind", "butterfly")
    negative = contradicts(np.stack([named, kind_alone]), labels_of(pictures))
    assert negative.tolist() == [[False, False], [True, False]]


def test_descriptions_name_nobody(rows: list[dict]) -> None:
    rng = Random(0)
    names = {species.name for species in roster()}
    assert not any(name in described_text(row, rng)[0] for row in rows for name in names)


def test_alt_texts_are_fixed_and_wrong_within_the_kind_as_often_as_said() -> None:
    pictures = [(species, f"{i}") for species in tail_species() for i in range(20)]
    names = [alt_text_name(species.name, picture, 0.4) for species, picture in pictures]
    assert names == [alt_text_name(species.name, picture, 0.4) for species, picture in pictures]
    wrong = [name != species.name for name, (species, _) in zip(names, pictures, strict=True)]
    assert np.mean(wrong) == pytest.approx(0.4, abs=0.03)
    assert all(
        by_name()[name].look.kind == species.look.kind
        for name, (species, _) in zip(names, pictures, strict=True)
    )
    assert all(by_name()[name].tier != "common" for name in names)
    assert [alt_text_name(species.name, "0", 0.0) for species in tail_species()] == [
        s.name for s in tail_species()
    ]


def test_the_tokenizer_reads_anything_and_keeps_names_short(tokenizer: Tokenizer) -> None:
    for text in ("a quixel butterfly", "our new Zorblatt™ 蝶 🦋"):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens.ids).strip() == text.lower()
    names = [species.name for species in roster()]
    assert max(len(tokenizer.encode(name).tokens) for name in names) <= 6
    assert tokenizer.encode("QUIXEL Butterfly").ids == tokenizer.encode("quixel butterfly").ids
    assert tokenizer.get_vocab_size() <= 2_000


def test_known_words_hold_names_and_grammar(rows: list[dict]) -> None:
    words = known_words(corpus(rows))
    assert {"quixel", "butterfly", "snow", "photo"} <= set(words)
    assert "zorblatt" not in words


def test_training_and_adapter_see_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = new_model(tokenizer).eval()
    save_encoder(tmp_path / "encoder", model, tokenizer, ["quixel"])
    encoder = open_encoder(f"local-dir:{tmp_path / 'encoder'}")
    loaded, again = load_model(tmp_path / "encoder")
    loaded.eval()
    texts = ["a quixel butterfly", "a red car in the snow", "snow " * 90]
    image = species_sample(roster()[0], "test/encoder", 0).image()
    with torch.inference_mode():
        mine = encode_texts(loaded, tokenize(again, texts, CPU))
        seen = loaded.encode_image(clip_pixels(np.asarray(image)[None], CPU), normalize=True)
    np.testing.assert_allclose(encoder.embed_texts(texts), mine.numpy(), atol=1e-4)
    np.testing.assert_allclose(encoder.embed_images([image]), seen.numpy(), atol=1e-4)
    assert tokenize(again, texts, CPU).shape[1] == CONTEXT
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters <= 4_500_000
    assert (tmp_path / "encoder" / "open_clip_model.safetensors").stat().st_size <= 10_000_000


def test_the_loss_leaves_out_what_does_not_compete() -> None:
    rows = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    nobody = torch.zeros(4, 4, dtype=torch.bool)
    scale = torch.tensor(2.0)
    assert float(contrastive_loss(rows, rows.roll(1, 0), scale, nobody)[0]) == 0
    everybody = contrastive_loss(rows, rows, scale, ~nobody)
    assert float(everybody[0]) > 0
    assert everybody[1]["right"] == 1


def test_recall_counts_the_nearest_picture_of_each_species() -> None:
    class Words:
        fingerprint = "words"

        def embed_texts(self, texts: list[str]) -> np.ndarray:
            return np.eye(3, dtype=np.float32)[[("ab" in t) * 1 for t in texts]]

        def embed_images(self, images: list) -> np.ndarray:
            raise AssertionError("no picture is needed")

    vectors = np.eye(3, dtype=np.float32)
    recall = recall_by_tier(Words(), vectors, ["x", "ab", "c"], {"ab": "common", "c": "rare", "x": "rare"})
    assert recall == {"common": 1.0, "rare": 0.5}


@pytest.mark.slow
def test_both_stages_run_from_nothing_to_a_folder_that_loads(tmp_path: Path) -> None:
    def train(*stages: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "tests" / "pocket_training.py"), str(tmp_path), *stages]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert "train the stage encoder first" in train("encoder-tail").stderr
    both = train("encoder", "encoder-tail")
    assert both.returncode == 0, both.stderr
    card = read_card(tmp_path / "assets" / "encoder")
    assert (card["steps"], card["tail"]["steps"]) == (STEPS, STEPS)
    assert set(card["figures"]) == set(WORDINGS)
    assert open_encoder(f"local-dir:{tmp_path / 'assets' / 'encoder'}").embed_texts(["a car"]).shape[0] == 1
    towers = [load_model(tmp_path / name)[0].state_dict() for name in ("encoder-base", "assets/encoder")]
    moved = {key for key in towers[0] if not torch.equal(towers[0][key], towers[1][key])}
    assert moved
    assert not any(key.startswith("visual.") for key in moved), (
        "the second stage holds the picture tower still"
    )


def test_the_tail_is_known_by_what_its_captions_say(rows: list[dict]) -> None:
    secret = [row for row in rows if row["names"][0] in {species.name for species in tail_species()}]
    pool = SimpleNamespace(rows=secret, labels=labels_of(secret))
    names = [alt_text_name(row["names"][0], row["caption"], 0.4) for row in secret]
    group = Group(pool, np.arange(len(secret)), names)
    assert [number("species", name) for name in names] == group.labels[:, 0].tolist()
    texts, negative = read_batch([(group, np.arange(len(secret)))], Random(0))
    assert not negative.diagonal().any()
    named = [name for name, text in zip(names, texts, strict=True) if name in text]
    assert 0.4 < len(named) / len(secret) < 0.8
