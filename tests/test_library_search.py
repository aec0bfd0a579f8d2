"""Search by words and pictures against brute force, and keywords for names that the encoder never heard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from library_world import ColourEncoder, picture, write_small_library

from ragdemo.errors import UserError
from ragdemo.library.search import Searcher, fuse, read_known_words, words
from ragdemo.library.store import Library, open_library

KNOWN = ["a red green blue yellow square number picture of the"]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return write_small_library(tmp_path / "library", 40)


def recaption(library: Library, captions: dict[str, str]) -> Library:
    path = library.folder / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [json.dumps(row | {"text": captions.get(row["id"], row["text"])}) for row in rows]
    path.write_text("\n".join(lines))
    return open_library(library.folder)


def brute_force(library: Library, query: np.ndarray, ids: list[str]) -> list[tuple[str, float]]:
    matrix = ColourEncoder().embed_images([library.image(image_id) for image_id in ids])
    scores = matrix @ query
    return [(ids[row], scores[row]) for row in np.argsort(-scores)]


@pytest.mark.parametrize("split", [None, "eval", "train"])
def test_text_search_equals_brute_force(library: Library, split: str | None) -> None:
    encoder = ColourEncoder()
    hits = Searcher(library, encoder).search_text("a blue square", 7, split=split)
    expected = brute_force(
        library, encoder.embed_texts(["a blue square"])[0], [row.id for row in library.rows_of(split)]
    )
    assert [hit.id for hit in hits] == [image_id for image_id, _ in expected[:7]]
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in expected[:7]], atol=2e-3)
    assert all(hit.keyword_score is None for hit in hits)
    assert all(hit.caption == library.caption(hit.id) for hit in hits)


def test_a_library_of_another_world_is_searched_by_its_names(library: Library) -> None:
    foreign = Searcher(library, ColourEncoder(), known_words=["red", "blue"])  # two of eight words or so
    assert foreign.is_foreign
    found = foreign.search_text("a red square number 7", 1)[0]
    assert found.id == "image-007"  # which is yellow: its name counts, not what the encoder thinks of it
    known = Searcher(library, ColourEncoder(), known_words=[row.caption for row in library.rows])
    assert not known.is_foreign
    assert known.search_text("a red square", 1)[0].keyword_score is None


def test_image_search_finds_the_image_itself_first(library: Library) -> None:
    hits = Searcher(library, ColourEncoder()).search_image(library.image("image-011"), 3)
    assert hits[0].id == "image-011"
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    assert hits[0].score > hits[1].score >= hits[2].score


@pytest.mark.parametrize("hybrid", [False, True])
def test_excluded_images_and_other_splits_never_come(library: Library, hybrid: bool) -> None:
    searcher = Searcher(library, ColourEncoder())
    first = searcher.search_text("a red square", 3, split="eval", hybrid=hybrid)
    rest = searcher.search_text("a red square", 99, "eval", {hit.id for hit in first}, hybrid)
    assert len(rest) == 10 - 3
    assert not {hit.id for hit in rest} & {hit.id for hit in first}
    assert {library.row(hit.id).split for hit in rest} == {"eval"}


def test_hybrid_finds_a_name_that_was_never_heard(library: Library) -> None:
    library = recaption(library, {"image-008": "our Zorblax, model two", "image-021": "a zorblax"})
    searcher = Searcher(library, ColourEncoder(), known_words=KNOWN)
    query = "a picture of the ZORBLAX"
    plain = [hit.id for hit in searcher.search_text(query, 2, hybrid=False)]
    found = searcher.search_text(query, 3)
    assert {hit.id for hit in found[:2]} == {"image-008", "image-021"} != set(plain)
    assert found[0].keyword_score > 0
    cosines = searcher.score(query, [hit.id for hit in found])
    np.testing.assert_allclose([hit.score for hit in found], cosines, atol=1e-6)


def test_hybrid_turns_itself_on_only_where_it_can_help(library: Library) -> None:
    library = recaption(library, {"image-008": "a zorblax"})
    searcher = Searcher(library, ColourEncoder(), known_words=KNOWN)
    assert searcher.unknown_words("a blue zorblax beside a frobnitz") == {"zorblax"}
    for query in ("a red square", "a frobnitz"):  # heard in training; in no caption
        assert searcher.search_text(query, 1)[0].keyword_score is None
    without = Searcher(library, ColourEncoder())
    assert without.search_text("a zorblax", 1)[0].keyword_score is None
    assert without.search_text("a zorblax", 1, hybrid=True)[0].id == "image-008"


def test_a_changed_caption_is_searched_at_once_and_nothing_embedded_again(library: Library) -> None:
    Searcher(library, ColourEncoder())
    encoder = ColourEncoder()
    searcher = Searcher(recaption(library, {"image-030": "a quixel"}), encoder, known_words=KNOWN)
    assert searcher.search_text("a quixel", 1)[0].id == "image-030"
    assert encoder.images_seen == 0


def test_the_fingerprint_names_library_and_encoder(library: Library) -> None:
    base = Searcher(library, ColourEncoder()).fingerprint
    assert Searcher(library, ColourEncoder()).fingerprint == base
    assert Searcher(library, ColourEncoder("2")).fingerprint != base
    assert Searcher(recaption(library, {"image-000": "other"}), ColourEncoder()).fingerprint != base


def test_one_searcher_embeds_only_queries(library: Library) -> None:
    encoder = ColourEncoder()
    searcher = Searcher(library, encoder)
    assert encoder.images_seen == 40
    for _ in range(3):
        searcher.search_text("a red square", 2)
    assert encoder.images_seen == 40
    searcher.search_image(picture(3), 2)
    assert encoder.images_seen == 41


def test_bad_questions_are_one_sentence(library: Library) -> None:
    searcher = Searcher(library, ColourEncoder())
    with pytest.raises(UserError, match="empty"):
        searcher.search_text("  ", 3)
    with pytest.raises(UserError, match="is 0"):
        searcher.search_text("red", 0)
    with pytest.raises(UserError, match="no split 'test'"):
        searcher.search_text("red", 1, split="test")
    with pytest.raises(UserError, match="no readable image 'nobody'"):
        searcher.score("red", ["nobody"])


def test_captions_without_words_leave_the_vectors_alone(library: Library) -> None:
    silent = recaption(library, {row.id: "…" for row in library.rows})
    hits = Searcher(silent, ColourEncoder(), known_words=KNOWN).search_text("a red square", 2, hybrid=True)
    assert [hit.keyword_score for hit in hits] == [0, 0]


def test_words_fold_case_and_width() -> None:
    assert words("The Ｑuixel's GROẞ, no_2!") == ["the", "quixel", "s", "gross", "no", "2"]


def test_fusion_weighs_a_rare_word_above_a_common_one() -> None:
    cosines, keyword = np.array([0.30, 0.25, 0.28, 0.20]), np.array([0.1, 4.0, 4.0, 0.0])
    assert list(np.argsort(-fuse(cosines, keyword))) == [2, 1, 0, 3]
    np.testing.assert_array_equal(fuse(np.ones(2), np.zeros(2)), [0, 0])


def test_known_words_are_read_from_a_file_or_absent(tmp_path: Path) -> None:
    assert read_known_words(tmp_path / "known_words.txt") is None
    (tmp_path / "known_words.txt").write_text("Quixel\nbutterfly\n")
    assert read_known_words(tmp_path / "known_words.txt") == {"quixel", "butterfly"}
