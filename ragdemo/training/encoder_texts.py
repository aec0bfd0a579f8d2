"""The encoder's texts: captions with claims, the tokenizer, and the long tail's alt-texts.

A text *claims* some facts of a picture (`labelled.FACTS`) and leaves out the others. A text is a negative of a picture
only if it claims something that the picture does not show: "a red car" never repels another red car.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from ragdemo.training.labelled import FACTS, UNSTATED, number
from ragdemo.world.captions import SCENE_PHRASES, article, caption, describe
from ragdemo.world.look import Look
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import Species, by_name, of_tier, roster

PAD, START, END = SPECIAL = ("<pad>", "<start>", "<end>")
VOCABULARY = 2_000
QUERY_FORMS = ("a photo of {}", "a photo of {}", "{}", "a picture of {}", "an image of {}")
SCENE_FORMS = ("{}", "a photo {}", "a picture {}")
CLAIMED_BY_DETAIL = (("kind",), ("main",), ("second", "pattern"), ("shape", "third"))
SCENE_ONLY = 0.05
WITH_SCENE = 0.5
STRAY_SCENE = 0.3
"""How many captions with a name put it into any scene, as alt-texts do: so the name outweighs the scene."""


def named_text(name: str, scene: str, rng: Random) -> tuple[str, np.ndarray]:
    """A caption or query that names a species, and its claims int64 `(facts,)`."""
    stated: dict[str, str]
    if rng.random() < STRAY_SCENE:
        words, stated = caption([name], rng.choice(SCENES), rng), {}
    else:
        words, stated = _placed(name, scene, rng)
    return words, claims({"species": name, "kind": by_name()[name].look.kind} | stated)


def described_text(row: Mapping[str, Any], rng: Random) -> tuple[str, np.ndarray]:
    """A caption or query without a proper name: the kind, some attributes, or the scene alone."""
    scene, look = row["scene"], row["looks"][0]
    if rng.random() < SCENE_ONLY:
        return rng.choice(SCENE_FORMS).format(rng.choice(SCENE_PHRASES[scene])), claims({"scene": scene})
    detail = rng.choice((0, 1, 1, 2, 2, 3, 3))
    words, stated = _placed(describe(Look(**look), detail), scene, rng)
    facts = [fact for level in CLAIMED_BY_DETAIL[: detail + 1] for fact in level]
    return words, claims({fact: look[fact] for fact in facts} | stated)


def claims(stated: Mapping[str, str]) -> np.ndarray:
    """The numbers of the facts that are stated, `UNSTATED` for the others: int64 `(facts,)`."""
    return np.array([number(fact, stated[fact]) if fact in stated else UNSTATED for fact in FACTS])


def contradicts(claimed: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether text j claims what picture i does not show: bool `(pictures, texts)`."""
    stated = claimed[None] != UNSTATED  # (1, texts, facts)
    return (stated & (claimed[None] != labels[:, None])).any(-1)


def alt_text_name(name: str, picture: str, noise: float) -> str:
    """The name in the alt-text of a tail species' picture: with probability `noise` that of a sibling.

    Siblings are the other tail species of the kind. The answer is fixed for each `picture` (any text
    that identifies it), as it is on a web page.
    """
    rng = Random(f"alt-text/{name}/{picture}")
    if rng.random() >= noise:
        return name
    kind = by_name()[name].look.kind
    return rng.choice([s.name for s in tail_species() if s.look.kind == kind and s.name != name])


def tail_species() -> tuple[Species, ...]:
    """The species of the long tail: rare, then novel ones."""
    return of_tier("rare") + of_tier("novel")


def corpus(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The texts that the tokenizer learns from: every name in every form, and captions and descriptions of `rows`."""
    for species in roster():
        yield from (form.format(article(species.name)) for form in QUERY_FORMS)
    rng = Random("encoder/corpus")
    for row in rows:
        yield row["caption"]
        yield described_text(row, rng)[0]


def known_words(texts: Iterable[str]) -> list[str]:
    """All words of the texts, sorted: the encoder does not know any other."""
    return sorted({word for text in texts for word in re.findall(r"\w+", text.lower())})


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A byte-level BPE, which can encode any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(word, tokenizer.token_to_id(word)) for word in (START, END)],
    )
    return tokenizer


def _placed(thing: str, scene: str, rng: Random) -> tuple[str, dict[str, str]]:
    """A thing with its scene, as in captions, or without, as in queries; and what that states of the scene."""
    if rng.random() < WITH_SCENE:
        return caption([thing], scene, rng), {"scene": scene}
    return rng.choice(QUERY_FORMS).format(article(thing)), {}
