"""RealRAG: its loss to the number, its heads, its negatives, and its flow."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from imagerag_doubles import Painter, Squares, references_of, tools

from ragdemo.errors import UserError
from ragdemo.events import Draft, Progress, References, Result
from ragdemo.methods.realrag.events import Rankings, ReflectiveNegative
from ragdemo.methods.realrag.head import CONFIG_FILE, HeadedEncoder, ResidualHead, load_head, save_head
from ragdemo.methods.realrag.loss import reflective_loss
from ragdemo.methods.realrag.method import RealRAG
from ragdemo.methods.realrag.mining import TrainingSet, class_prompt, without_classes
from ragdemo.methods.realrag.training import HeadSettings, train_head, training_key
from ragdemo.request import Choices, Request


def unit(*rows: list[float]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float64), dim=-1)


QUERIES = unit([1, 0, 0], [0, 1, 0])
POSITIVES = unit([1, 0.2, 0], [0.1, 1, 0.3])
NEGATIVES = unit([1, 0, 0.5], [0, 1, -0.2])
DIFFERENT, THIRD = torch.tensor([0, 1]), torch.tensor([2, 2])
TAU = 0.5


def test_the_loss_is_the_papers_to_the_number() -> None:
    expected = 0.0
    for i in range(2):
        scores = [float(QUERIES[i] @ POSITIVES[j]) / TAU for j in range(2)]
        reflective = float(QUERIES[i] @ NEGATIVES[i]) / TAU
        total = sum(map(math.exp, [*scores, reflective]))
        expected -= math.log(math.exp(scores[i]) / total) / 2
    found = reflective_loss(QUERIES, POSITIVES, NEGATIVES, DIFFERENT, THIRD, TAU)
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_without_the_reflective_term_it_is_the_ordinary_contrastive_loss() -> None:
    found = reflective_loss(QUERIES, POSITIVES, None, DIFFERENT, None, TAU)
    expected = torch.nn.functional.cross_entropy(QUERIES @ POSITIVES.T / TAU, torch.tensor([0, 1]))
    assert float(found) == pytest.approx(float(expected), abs=1e-12)


def test_the_gradient_is_right() -> None:
    positives, negatives = (t.clone().requires_grad_(True) for t in (POSITIVES, NEGATIVES))
    assert torch.autograd.gradcheck(
        lambda p, n: reflective_loss(QUERIES, p, n, DIFFERENT, THIRD, TAU), (positives, negatives)
    )


def test_same_species_are_no_negatives_unless_it_is_asked_for() -> None:
    same = torch.tensor([4, 4])
    alone = reflective_loss(QUERIES, POSITIVES, NEGATIVES, same, same, TAU)
    assert float(alone) == pytest.approx(0.0, abs=1e-12)  # nothing is left to tell the positive from
    unmasked = reflective_loss(QUERIES, POSITIVES, NEGATIVES, same, same, TAU, mask_same_species=False)
    assert float(unmasked) == pytest.approx(
        float(reflective_loss(QUERIES, POSITIVES, NEGATIVES, DIFFERENT, THIRD, TAU))
    )


def test_reflective_negatives_need_their_species() -> None:
    with pytest.raises(ValueError, match="pass negative_species"):
        reflective_loss(QUERIES, POSITIVES, NEGATIVES, DIFFERENT, None, TAU)


def toy() -> TrainingSet:
    """Two species; what the generator draws for the first looks like the second, which lies nearer to its query."""
    images = unit([1, 0.9, 0, 0], [1, 0.3, 0, 0.1]).numpy().astype(np.float32)
    queries = unit([1, 0, 0, 0], [0, 0, 1, 0]).numpy().astype(np.float32)
    drawn = unit([1, 0.31, 0, 0.1], [1, 0.9, 0, 0]).numpy().astype(np.float32)
    ids = np.array([0, 1])
    return TrainingSet(("first", "second"), images, ids, queries, ids, drawn)


def test_a_class_that_is_left_out_is_nowhere_in_the_set() -> None:
    data = toy()
    rest = without_classes(data, ["first"])
    assert (rest.names, rest.image_species.tolist(), rest.query_species.tolist()) == (("second",), [0], [0])
    for part, whole in ((rest.images, data.images), (rest.queries, data.queries), (rest.drawn, data.drawn)):
        np.testing.assert_array_equal(part, whole[1:])


def test_the_reflective_term_changes_the_ranking() -> None:
    data = toy()
    assert data.reflective_negatives().tolist() == [1, 0]
    settings = HeadSettings(batch=1, epochs=40, learning_rate=1e-2)  # no other negative in a batch of one

    def first_found(head: ResidualHead | None) -> int:
        moved = torch.from_numpy(data.images) if head is None else head(torch.from_numpy(data.images))
        return int((torch.from_numpy(data.queries[0]) @ moved.T).argmax())

    assert first_found(None) == 1
    assert first_found(train_head(data, "normal", settings)) == 1
    assert first_found(train_head(data, "real", settings)) == 0


def test_training_goes_on_after_a_kill_as_if_nothing_had_happened(tmp_path: Path) -> None:
    settings = HeadSettings(batch=1, epochs=6)
    whole = train_head(toy(), "real", settings)
    train_head(
        toy(), "real", settings, tmp_path / "state.pt", steps=5
    )  # in the midst of the third epoch of two
    log: list[str] = []
    resumed = train_head(toy(), "real", settings, tmp_path / "state.pt", log.append)
    assert [line.split()[3] for line in log] == ["6/12", "8/12", "10/12", "12/12"]
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)
    # a state of other settings is not gone on with
    log.clear()
    other = dataclasses.replace(settings, temperature=0.2)
    train_head(toy(), "real", other, tmp_path / "state.pt", log.append)
    assert len(log) == 6


def test_a_head_takes_exactly_the_steps_that_are_asked_for(tmp_path: Path) -> None:
    settings, file, log = HeadSettings(batch=1), tmp_path / "state.pt", []
    train_head(toy(), "normal", settings, file, steps=3)
    assert torch.load(file, weights_only=True)["step"] == 3
    train_head(toy(), "normal", dataclasses.replace(settings, epochs=99), file, log.append, steps=3)
    assert log == ["realrag normal has its 3 steps already; nothing is trained"]
    with pytest.raises(UserError, match="has 3 steps, more than the 2 asked for"):
        train_head(toy(), "normal", settings, file, steps=2)
    keys = {training_key(toy(), variant, settings) for variant in ("normal", "real")}
    assert len(keys) == 2


class Frozen:
    """An encoder that knows four pictures."""

    fingerprint = "a" * 64

    def embed_images(self, images) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[: len(images)]

    def embed_texts(self, texts) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[: len(texts)]


def test_an_untrained_head_is_the_frozen_encoder() -> None:
    headed = HeadedEncoder(Frozen(), ResidualHead(4))
    assert np.allclose(headed.embed_images([None, None]), np.eye(4)[:2])
    assert headed.fingerprint != Frozen.fingerprint


def test_a_head_is_read_back_and_refused_for_another_encoder(tmp_path: Path) -> None:
    head = train_head(toy(), "real", HeadSettings(batch=1, epochs=3))
    save_head(head, tmp_path, "a" * 64)
    again = load_head(tmp_path, "a" * 64)
    vectors = np.eye(4, dtype=np.float32)
    moved = [HeadedEncoder(Frozen(), h).transform(vectors) for h in (head, again)]
    assert np.allclose(*moved, atol=2e-3)  # half precision on disk
    with pytest.raises(
        UserError, match="was trained on the encoder aaaaaaaaaaaa, not on bbbbbbbbbbbb; train it again"
    ):
        load_head(tmp_path, "b" * 64)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps({**config, "width": 5}))
    with pytest.raises(UserError, match="cannot be loaded"):
        load_head(tmp_path, "a" * 64)


def test_the_class_prompt_is_the_papers() -> None:
    assert class_prompt("quixel butterfly") == "a photo of a quixel butterfly"
    assert class_prompt("admiral butterfly") == "a photo of an admiral butterfly"


# The flow


class Backwards(Squares):
    """A trained retriever that prefers what the frozen one finds last."""

    @property
    def fingerprint(self) -> str:
        return "squares-backwards"

    def _score(self, query: str, image_id: str) -> float:
        return 1 - super()._score(query, image_id)


def run(settings: dict | None = None, known: tuple = (), painter: Painter | None = None, **choices) -> list:
    trained = tools(painter=painter, retrievers={"normal": Squares(), "real": Backwards()})
    asked = Request(
        prompt="a quixel butterfly",
        method="realrag",
        seed=7,
        settings=settings or {},
        choices=Choices(**choices),
    )
    return list(RealRAG().run(asked, trained, known))


def of(events: list, kind: type):
    return next(event for event in events if isinstance(event, kind))


def test_the_events_come_in_the_order_of_the_flow() -> None:
    told = [type(event) for event in run() if not isinstance(event, Progress)]
    assert told == [Draft, ReflectiveNegative, Rankings, References, Result]


def test_the_three_retrievers_are_asked_the_same_and_the_chosen_one_decides() -> None:
    events = run()
    rankings = of(events, Rankings)
    assert [ranking.retriever for ranking in rankings.rankings] == ["zero", "normal", "real"]
    assert rankings.rankings[0].references == rankings.rankings[1].references
    first = {name: run({"retriever": name}) for name in ("zero", "normal", "real")}
    used = {name: of(events, References).used[0].id for name, events in first.items()}
    assert used["zero"] == used["normal"] == "quixel-1"
    assert used["real"] != "quixel-1"
    named = {name: of(events, Result).recipe.library_fingerprint for name, events in first.items()}
    assert named == {"zero": "squares-1", "normal": "squares-1", "real": "squares-backwards"}


def test_settings_and_choices_reach_the_drawing() -> None:
    painter = Painter()
    events = run(
        {"references": 2, "steps": 9, "reference_scale": 0.5}, painter=painter, rejected=("zandor-1",)
    )
    assert len(of(events, References).used) == 2
    assert "zandor-1" not in {reference.id for reference in of(events, References).used}
    drawn = painter.drawn[-1]
    assert (drawn.sampling.steps, drawn.condition.scale, len(references_of(drawn))) == (9, 0.5, 2)
    assert of(events, Result).recipe.references == tuple(r.id for r in of(events, References).used)


def test_what_is_known_is_neither_drawn_nor_yielded_again() -> None:
    before = [event for event in run() if not isinstance(event, Progress)]
    painter = Painter()
    again = run(known=tuple(before[:3]), painter=painter, pinned=("zandor-2",))
    assert len(painter.drawn) == 1
    assert [type(event) for event in again if not isinstance(event, Progress)] == [References, Result]
    assert of(again, References).used[0].id == "zandor-2"


def test_wrong_settings_and_missing_heads_are_named() -> None:
    with pytest.raises(UserError, match="RealRAG has no setting 'mode'"):
        run({"mode": "draft"})
    with pytest.raises(UserError, match="choose a whole number from 1 to 4"):
        run({"references": 9})
    with pytest.raises(UserError, match="has no retriever 'real'; train it with"):
        list(RealRAG().run(Request(prompt="a fox", method="realrag"), tools()))
