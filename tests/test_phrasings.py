"""Prompts as people type them: what they say is what is told of them, and made-up words are nobody's."""

from __future__ import annotations

from random import Random

import torch

from ragdemo.training.image_encoder import QUESTIONS, TOKENS, WIDTH, TokenReader, attribute_targets
from ragdemo.training.names import made_up_word
from ragdemo.training.phrasings import phrase_with_facts
from ragdemo.training.text_encoder import NAMES, UNKNOWN, name_loss, named_twice
from ragdemo.world.captions import SCENE_PHRASES
from ragdemo.world.kinds import KINDS
from ragdemo.world.palette import COLOURS
from ragdemo.world.pool import describe_sample
from ragdemo.world.sampling import generator_sample, pair_sample
from ragdemo.world.species import roster

ROWS = [describe_sample(generator_sample("test/phrasings", i)) for i in range(300)]


def test_what_is_told_of_a_thing_stands_in_the_prompt() -> None:
    rng = Random(0)
    for row in ROWS:
        text, facts = phrase_with_facts(row, rng)
        assert len(facts) == len(row["looks"])
        for name, look, fact in zip(row["names"], row["looks"], facts, strict=True):
            assert fact.items() <= look.items()
            if not (name and name in text):
                assert all(fact[key] in text for key in ("kind", "main", "second", "pattern") if key in fact)
        assert row["scene"] in text or any(words in text for words in SCENE_PHRASES[row["scene"]])


def test_a_plain_thing_leaves_its_look_to_the_reference() -> None:
    rng, rows = Random(0), [describe_sample(pair_sample("test/phrasings", i)[0]) for i in range(200)]
    told = [phrase_with_facts(row, rng, plain=(0,))[1][0] for row in rows if not any(row["names"])]
    assert all(fact.keys() <= {"kind", "main"} for fact in told)
    assert sum("main" in fact for fact in told) < len(told) / 3


def test_made_up_words_are_of_many_makes_and_nobodys() -> None:
    rng, taken = Random(1), {word for species in roster() for word in species.name.split()} | {*KINDS}
    words = [made_up_word(rng) for _ in range(2_000)]
    assert not taken & set(words)
    assert all(2 <= len(word) <= 14 and word.isalpha() and word.islower() for word in words)
    assert len(set(words)) > 1_500
    assert sum(word[0] in "aeiou" for word in words) > 200


def test_each_made_up_name_is_said_twice_in_other_words() -> None:
    prompts = named_twice(ROWS[:NAMES], Random(2))
    assert len(prompts) == 2 * NAMES
    for one, other in zip(prompts[:NAMES], prompts[NAMES:], strict=True):
        shared = set(one.replace(",", " ").replace(":", " ").split()) & set(other.replace(",", " ").split())
        assert shared - {"a", "an", "the", "in", "of", "there", "is"}
    assert sum(one != other for one, other in zip(prompts[:NAMES], prompts[NAMES:], strict=True)) > NAMES - 5


def test_twins_cost_nothing_and_strangers_do() -> None:
    torch.manual_seed(0)
    states = torch.randn(8, 32)
    same, nearest = name_loss(torch.cat([states, states]))
    other, _ = name_loss(torch.cat([states, states.roll(1, 0)]))
    assert nearest == 1.0
    assert same < 0.1 < other


def test_a_thing_of_no_kind_teaches_neither_kind_nor_shape() -> None:
    torch.manual_seed(0)
    look = {"kind": "zorkel", "shape": "round", "pattern": "spots", "main": COLOURS[0], "second": COLOURS[1]}
    targets = attribute_targets([look | {"third": COLOURS[2]}])
    assert {key for key in QUESTIONS if int(targets[key]) == UNKNOWN} == {"kind", "shape"}
    reader, tokens = TokenReader(), torch.randn(1, TOKENS, WIDTH)
    loss, figures = reader.loss(tokens, targets, torch.zeros(1, 768))
    loss.backward()
    assert "kind" not in figures
    assert reader.heads["kind"].weight.grad is None
    assert reader.heads["main"].weight.grad.abs().sum() > 0
