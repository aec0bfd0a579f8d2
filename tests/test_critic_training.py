"""The critic's questions, answers and training, on a tiny pool and without trained weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

pytest.importorskip("timm")

from safetensors.torch import load_file
from tiny_models import spec_of
from transformers import PreTrainedTokenizerFast

from ragdemo.errors import UserError
from ragdemo.foreign import is_reserved, lines
from ragdemo.methods import dialogue
from ragdemo.models import critic as critic_adapter
from ragdemo.models.critic import load_critic
from ragdemo.profiles import ASSETS
from ragdemo.training import critic, critic_images, critic_measure, critic_model, critic_vision, drafts
from ragdemo.training.critic_manners import SCENES_ALIKE
from ragdemo.training.critic_model import IMAGE_TOKENS, build_tokenizer, new_processor
from ragdemo.training.critic_names import OUTSIDE, foreign_text, unheard_words
from ragdemo.training.critic_questions import Turn, picture_turns, text_turn
from ragdemo.training.critic_words import Content, Thing, scene_words
from ragdemo.training.drafts import draft, drafts_folder, open_drafts, train_drafts
from ragdemo.training.export import read_card
from ragdemo.training.loop import Context
from ragdemo.world.captions import SCENE_PHRASES
from ragdemo.world.kinds import KINDS
from ragdemo.world.look import random_look
from ragdemo.world.palette import COLOURS
from ragdemo.world.pool import PoolSpec
from ragdemo.world.species import by_name, of_tier

POCKET = ASSETS / "pocket"
SCENE_WORDS = set(
    " ".join(p for words in (SCENE_PHRASES, SCENES_ALIKE) for ps in words.values() for p in ps).split()
)
POOLS = (PoolSpec("species", "train/species", 8), PoolSpec("generator", "train/generator", 8))


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def a_picture(rng: Random) -> Content:
    species = rng.choice(of_tier(rng.choice(("common", "rare", "novel"))))
    things = [Thing(species.look, species.name)]
    if rng.random() < 0.3:
        kind = rng.choice([kind for kind in ("car", "fish", "robot") if kind != species.look.kind])
        things.append(Thing(random_look(kind, rng)))
    return Content(tuple(things), rng.choice(tuple(SCENE_PHRASES)))


@pytest.fixture(scope="module")
def turns() -> list[tuple[Turn, Turn, Turn]]:
    rng = Random(0)
    return [picture_turns(a_picture(rng), rng) for _ in range(300)]


def test_verdicts_are_read_as_meant_and_half_of_them_are_yes(turns):
    for yes, no, _ in turns:
        assert dialogue.parse_verdict(yes.answer) is True
        assert dialogue.parse_verdict(no.answer) is False
        assert all(concept.present for concept in yes.concepts)
        assert not no.concepts or not all(concept.present for concept in no.concepts)


def test_missing_concepts_are_the_prompts_own_words_in_its_order(turns):
    for _, _, missing in turns:
        lines = dialogue.parse_lines(missing.answer)
        places = [missing.question.index(concept.stands) for concept in missing.concepts]
        assert places == sorted(places)
        assert lines == tuple(dict.fromkeys(c.words for c in missing.concepts if not c.present))[:3]


def test_a_name_that_differs_from_what_is_shown_is_missing(turns):
    for turn in (turn for three in turns for turn in three):
        for concept in turn.concepts:
            if concept.present and concept.words in by_name() and ": the image shows" in turn.answer:
                assert concept.words in turn.answer


def test_every_word_of_an_empty_picture_is_missing():
    yes, no, missing = picture_turns(Content((), None), Random(1))
    assert yes.answer == no.answer == "no: the image shows nothing"
    assert not any(concept.present for concept in missing.concepts)


def test_questions_without_a_picture_are_answered_in_the_form_asked_for():
    rng = Random(3)
    for turn in (text_turn(rng) for _ in range(300)):
        if turn.question.startswith("Write one caption"):
            concepts = turn.question.split(": ", 1)[1].split("; ")
            captions = dialogue.parse_captions(turn.answer, len(concepts))
            assert all(caption.startswith("a photo of ") for caption in captions)
        else:
            assert dialogue.parse_lines(turn.answer)


def test_rare_names_are_rewritten_as_what_they_look_like():
    rng = Random(4)
    rewritten = [turn for turn in (text_turn(rng) for _ in range(400)) if turn.question.startswith("Rewrite")]
    secret = {species.name for tier in ("rare", "novel") for species in of_tier(tier)}
    assert rewritten
    for turn in rewritten:
        assert not any(name in turn.answer for name in secret)


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("on the hot sand", "hot sand"),
        ("at night", "night"),
        ("in front of tall buildings", "tall buildings"),
    ],
)
def test_a_scene_is_called_by_its_noun(phrase: str, words: str):
    assert scene_words(phrase) == words


def test_names_of_many_makes_stand_in_most_pictures_prompts_and_none_is_reserved(turns):
    rng = Random(7)
    names = [unheard_words(rng) for _ in range(2_000)]
    assert len(set(names)) > 1_900
    assert {len(name) for name in names} >= set(range(3, 15))
    assert any(" " in name for name in names)
    assert not any(is_reserved(word) for name in names for word in name.split())
    known = {word for name in by_name() for word in name.split()}
    new = [
        any(c.words.split()[-1] in KINDS and not {*c.words.split()} & {*COLOURS} and c.words.split()[0] not in known
            for turn in three for c in turn.concepts)
        for three in turns
    ]  # fmt: skip
    assert np.mean(new) > 0.5


def test_what_is_outside_the_world_is_never_approved_or_trained_on_as_it_is_measured():
    rng = Random(8)
    measured = " ".join(lines("outside")).casefold().split()
    assert not set(OUTSIDE) & set(measured)
    picture = Content((Thing(by_name()["quixel butterfly"].look, "quixel butterfly"),), "snow")
    outside = foreign = 0
    for _ in range(400):
        _, no, missing = picture_turns(picture, rng)
        assert dialogue.parse_verdict(no.answer) is False
        foreign += not no.concepts
        outside += any(not {*c.words.split()} & {*KINDS, *SCENE_WORDS} for c in missing.concepts)
    assert foreign > 8
    assert outside > 20
    assert any(ord(c) > 1000 for _ in range(50) for c in foreign_text(rng))


def test_any_name_is_copied_byte_by_byte_and_case_is_folded(tokenizer):
    plain = tokenizer.encode(" a zorblatix butterfly", add_special_tokens=False)
    assert tokenizer.encode(" A Zorblatix BUTTERFLY", add_special_tokens=False) == plain
    assert len(plain) == 2 + 1 + len("zorblatix")
    for name in ("zorblatix", "ñandú", "雪の蝶", "k", "x" * 14):
        assert (
            tokenizer.decode(tokenizer.encode(f" {name} fish", add_special_tokens=False)) == f" {name} fish"
        )
    for typed in ('"quixel butterfly', "(quixel butterfly", "snow:quixel butterfly"):
        assert "Ġquixel" in tokenizer.convert_ids_to_tokens(tokenizer.encode(typed))


def test_the_shipped_critic_goes_on_with_other_tokens(tokenizer):
    context = Context(Path("runs"), POCKET, torch.device("cpu"), 1, workers=1, warm=True)
    model, _ = critic_model.shipped_critic(context, tokenizer)
    before = PreTrainedTokenizerFast.from_pretrained(POCKET / "critic")
    old = load_file(POCKET / "critic" / "model.safetensors")
    (name,) = [name for name in old if "embed_tokens" in name]
    words = model.get_input_embeddings().weight
    assert words.shape[0] == len(tokenizer) != old[name].shape[0]
    token = "Ġbutterfly"
    was = old[name][before.convert_tokens_to_ids(token)].float()
    torch.testing.assert_close(words[tokenizer.convert_tokens_to_ids(token)], was)
    assert torch.isfinite(words).all()


def test_answers_survive_the_tokenizer_and_names_are_single_tokens(tokenizer, turns):
    collate = critic.Collate(tokenizer)
    rng = Random(5)
    for turn in (*(turn for three in turns for turn in three), *(text_turn(rng) for _ in range(100))):
        reply = tokenizer.decode(collate.answer(turn.answer), skip_special_tokens=True)
        assert [line.strip() for line in reply.splitlines()] == turn.answer.lower().splitlines()
    lengths = [len(tokenizer.encode(" " + name.split()[0], add_special_tokens=False)) for name in by_name()]
    assert np.mean(lengths) == 1


def test_the_tokenizer_is_the_same_whenever_it_is_trained(tokenizer):
    assert build_tokenizer().get_vocab() == tokenizer.get_vocab()


def test_training_reads_questions_as_the_critic_is_asked(tokenizer, turns):
    from PIL import Image

    turn = turns[0][0]
    batch = critic.Collate(tokenizer)([turn], pictured=True)
    content = [
        {"type": "image", "image": Image.new("RGB", (128, 128))},
        {"type": "text", "text": turn.question},
    ]
    asked = new_processor(tokenizer).apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"][0]
    answer = critic.Collate(tokenizer).answer(turn.answer)
    assert batch.tokens[0].tolist() == [*asked, *answer]
    assert (batch.shown >= 0).sum() == len(turn.concepts)
    assert batch.labels[0][-len(answer) :].tolist() == answer


def test_a_concept_is_asked_about_at_its_last_word(tokenizer, turns):
    collate = critic.Collate(tokenizer)
    for turn in (turn for three in turns[:60] for turn in three):
        batch = collate([turn], pictured=True)
        for concept, place in zip(turn.concepts, (batch.shown[0] >= 0).nonzero().flatten(), strict=True):
            words = tokenizer.decode(batch.tokens[0][1 + IMAGE_TOKENS : place + 1])
            asked = concept.stands.lower()
            assert asked in words.rstrip('"?., ')[-len(asked) - 3 :]


def test_degraded_pictures_stay_pictures():
    images = torch.rand(8, 3, 128, 128)
    degraded = critic_images.degrade(images, np.random.default_rng(0))
    assert degraded.shape == images.shape
    assert degraded.min() >= 0
    assert degraded.max() <= 1
    assert not torch.equal(degraded, images)


def test_cases_for_measuring_are_balanced_and_their_prompts_hold_the_missing_words():
    cases = list(critic_measure.verdict_cases(24))
    for cell in ("common match", "common mismatch", "rare match", "rare mismatch"):
        assert sum(case.cell == cell for case in cases) == 6
    for case in (*cases, *critic_measure.missing_cases(12)):
        assert all(words in case.prompt for words in case.missing)


def tiny(folder: Path, steps: int) -> Context:
    return Context(folder / "runs", folder / "assets", torch.device("cpu"), steps, workers=1)


def test_the_language_model_needs_a_trained_vision_tower(tmp_path: Path):
    with pytest.raises(UserError, match="critic-vision"):
        critic.train_critic(tiny(tmp_path, 1), pictures=object())


@pytest.mark.slow
def test_two_steps_make_a_critic_that_answers_and_goes_on(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(critic_vision, "BATCH", 4)
    monkeypatch.setattr(critic, "BATCH", 2)
    monkeypatch.setattr(critic, "TEXT_BATCH", 4)
    monkeypatch.setattr(critic_measure, "QUESTIONS", 12)
    monkeypatch.setattr(critic_measure, "FOREIGN", 2)
    monkeypatch.setattr(critic_adapter, "MAX_NEW_TOKENS", 4)  # what an untrained one says has no end
    context = tiny(tmp_path, 2)
    pictures = critic_images.Pictures(context, POOLS, round_trips=0)
    critic_vision.train_vision(context, pictures)
    critic.train_critic(context, pictures)

    folder = context.assets / "critic"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 8_000_000
    assert {"verdict", "verdict, grey", "missing exact"} <= read_card(folder)["figures"].keys()
    shipped = load_critic(spec_of("critic", folder), "cpu")
    picture = a_picture(Random(0))
    image, _ = pictures._take(0, 0)
    from PIL import Image

    question = picture_turns(picture, Random(0))[0].question
    assert isinstance(shipped.ask(question, Image.fromarray(image)), str)
    assert isinstance(shipped.ask(question, None), str)

    critic.train_critic(replace(context, steps=4), pictures)
    assert "critic goes on at step 2" in capsys.readouterr().out
    assert read_card(folder)["steps"] == 4


@pytest.mark.slow
def test_the_critic_is_shown_the_generators_own_pictures(tmp_path: Path, monkeypatch):
    context = Context(tmp_path, POCKET, torch.device("cpu"), workers=1, count=12)
    assert open_drafts(context) is None
    train_drafts(context)
    folder = drafts_folder(context)
    rows = json.loads((folder / "0000000.json").read_text())
    pixels = folder / "0000000.npy"
    assert np.load(pixels).shape == (12, 1, 128, 128, 3)
    expected = sorted(str(draft(i)[0].names) for i in range(12))
    assert sorted(str(tuple(row[0]["names"])) for row in rows) == expected
    written = pixels.stat().st_mtime_ns
    train_drafts(context)
    assert pixels.stat().st_mtime_ns == written
    pools = [PoolSpec("species", f"test/{name}", 2) for name in ("one", "two")]
    pictures = critic_images.Pictures(context, pools, round_trips=0)
    assert pictures.drafts == 12
    monkeypatch.setattr(drafts, "RARE_SHARE", 0.5)  # other drafts lie in a folder of their own
    assert open_drafts(context) is None
    assert critic_images.Pictures(context, pools, round_trips=0).inputs != pictures.inputs
