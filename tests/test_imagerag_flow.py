"""ImageRAG's flow with a scripted critic, through every branch."""

from __future__ import annotations

from random import Random

import pytest
from event_grammar import assert_grammar
from imagerag_doubles import Painter, ScriptedCritic, references_of, tools
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.events import (
    Draft,
    Event,
    MissingConcepts,
    Progress,
    References,
    Rephrased,
    Result,
    RetrievalCaptions,
    Verdict,
)
from ragdemo.images import image_sha256
from ragdemo.methods.evidence import own_id
from ragdemo.methods.imagerag.method import ImageRAG
from ragdemo.models.base import ImageReferences, Sampling
from ragdemo.request import Choices, ImageRef, Request

PROMPT = "a quixel butterfly in the snow"
CORRECTED = [Draft, Verdict, MissingConcepts, RetrievalCaptions, References, Result]
TWO = {"missing": ["quixel butterfly\nzandor car"], "captions": ["a quixel butterfly\na zandor car"]}


def run(
    critic: ScriptedCritic | None = None,
    painter: Painter | None = None,
    known: tuple = (),
    settings: dict | None = None,
    pictures: dict[str, Image.Image] | None = None,
    **choices: object,
) -> list[Event]:
    request = Request(prompt=PROMPT, seed=7, settings=settings or {}, choices=Choices(**choices))
    events = ImageRAG().run(request, tools(critic, painter, pictures), known)
    return [event for event in events if not isinstance(event, Progress)]


def one(events: list[Event], kind: type) -> Event:
    """The last event of a kind."""
    return [event for event in events if isinstance(event, kind)][-1]


def used(events: list[Event]) -> list[tuple[str, str]]:
    return [(reference.id, reference.concept) for reference in one(events, References).used]


MINE = Image.new("RGB", (5, 9), "green")
OWN = ImageRef(sha256=image_sha256(MINE), name="my-thing.png")
PICTURES = {OWN.sha256: MINE}


def test_an_own_image_is_drawn_with_also_where_the_critic_says_yes() -> None:
    critic, painter = ScriptedCritic(match=["yes"]), Painter()
    events = run(critic, painter, own=(OWN,), pictures=PICTURES)
    assert [type(event) for event in events] == [Draft, Verdict, References, Result]
    assert used(events) == [(own_id(OWN), PROMPT)]
    assert references_of(painter.drawn[-1]) == (MINE,)
    assert one(events, Result).recipe.references == (own_id(OWN),)
    assert critic.questions("What") == []
    known = tuple(event for event in events if isinstance(event, Draft | Verdict))
    without = run(critic, painter, known)  # and taken out again the draft is right as it is
    assert [type(event) for event in without] == [Result]
    assert one(without, Result).image is known[0].image


def test_an_own_image_has_its_true_score() -> None:
    events = run(ScriptedCritic(**TWO), own=(OWN,), pictures=PICTURES)
    assert one(events, References).used[0].score == 0.505  # as the double scores a picture of this width


def test_yes_makes_the_draft_the_result() -> None:
    events = run(ScriptedCritic(match=["Yes, it does."]))
    assert list(map(type, events)) == [Draft, Verdict, Result]
    assert events[-1].image is events[0].image
    assert events[-1].recipe.references == ()


def test_no_leads_to_a_second_drawing_with_the_nearest_image_and_the_same_seed() -> None:
    painter = Painter()
    events = run(painter=painter)
    assert list(map(type, events)) == CORRECTED
    assert used(events) == [("quixel-1", "quixel butterfly")]
    assert [drawing.seed for drawing in painter.drawn] == [7, 7]
    assert [len(references_of(drawing)) for drawing in painter.drawn] == [0, 1]
    assert events[-1].recipe.references == ("quixel-1",)
    assert events[-1].recipe.library_fingerprint == "squares-1"
    assert one(events, Verdict) == Verdict(False, "no: an orange butterfly", one(events, Verdict).seconds)


def test_progress_names_the_stages_in_order() -> None:
    events = ImageRAG().run(Request(prompt=PROMPT), tools())
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert list(dict.fromkeys(stages)) == ["draft", "critic", "retrieval", "generation"]


def test_each_concept_has_its_reference() -> None:
    events = run(ScriptedCritic(**TWO))
    assert used(events) == [("quixel-1", "quixel butterfly"), ("zandor-1", "zandor car")]


def test_several_references_per_concept_and_the_next_candidates() -> None:
    events = run(settings={"references_per_concept": 2})
    assert used(events) == [("quixel-1", "quixel butterfly"), ("quixel-2", "quixel butterfly")]
    assert [reference.id for reference in one(events, References).others] == [
        "quixel-3",
        "zandor-1",
        "zandor-2",
    ]


def test_an_unreadable_reply_is_asked_again_with_rising_temperature() -> None:
    critic = ScriptedCritic(missing=["I am unable to say.", "", "quixel butterfly"])
    missing = one(run(critic), MissingConcepts)
    assert (missing.concepts, missing.understood, missing.tries) == (("quixel butterfly",), True, 3)
    assert [(temperature, seed) for _, _, temperature, seed in critic.questions("What")] == [
        (0, 7),
        (0.4, 8),
        (0.8, 9),
    ]


def test_where_nothing_is_understood_the_prompt_is_the_query() -> None:
    critic = ScriptedCritic(missing=["I can't."])
    events = run(critic)
    missing, captions = one(events, MissingConcepts), one(events, RetrievalCaptions)
    assert (missing.concepts, missing.understood, missing.tries, missing.reply) == (
        (PROMPT,),
        False,
        4,
        "I can't.",
    )
    assert (captions.captions, captions.understood, captions.tries) == ((PROMPT,), False, 0)
    assert not critic.questions("Write")
    assert used(events) == [("quixel-3", PROMPT)]


def test_unreadable_captions_make_the_prompt_the_query() -> None:
    events = run(ScriptedCritic(missing=["quixel butterfly\nzandor car"], captions=["only one line"]))
    captions = one(events, RetrievalCaptions)
    assert (captions.concepts, captions.captions, captions.understood) == ((PROMPT,), (PROMPT,), False)
    assert used(events) == [("quixel-3", PROMPT)]


def test_an_unreadable_verdict_counts_as_no_and_says_so() -> None:
    events = run(ScriptedCritic(match=["perhaps"]))
    verdict = one(events, Verdict)
    assert (verdict.matches, verdict.understood, verdict.tries) == (False, False, 4)
    assert isinstance(events[-1], Result)


def test_references_below_the_threshold_are_candidates_only() -> None:
    events = run(ScriptedCritic(**TWO), settings={"similarity_threshold": 0.9, "references_per_concept": 2})
    assert [image_id for image_id, _ in used(events)] == ["quixel-1", "zandor-1"]


def test_without_any_good_reference_the_draft_is_the_result() -> None:
    painter = Painter()
    events = run(ScriptedCritic(captions=["a wug"]), painter, settings={"similarity_threshold": 0.9})
    assert one(events, References).used == ()
    assert events[-1].image is events[0].image
    assert len(painter.drawn) == 1


def test_rejected_images_are_never_found() -> None:
    events = run(rejected=("quixel-1",))
    assert used(events) == [("quixel-2", "quixel butterfly")]
    assert "quixel-1" not in [reference.id for reference in one(events, References).others]


def test_pinned_images_are_used_for_the_nearest_concept() -> None:
    events = run(ScriptedCritic(**TWO), pinned=("zandor-2",))
    assert used(events) == [("quixel-1", "quixel butterfly"), ("zandor-2", "zandor car")]
    assert one(events, References).used[1].score == pytest.approx(0.5)


def test_an_unknown_pinned_image_is_named() -> None:
    with pytest.raises(UserError, match="'nowhere'"):
        run(pinned=("nowhere",))


def test_own_images_come_first_and_take_the_place_of_retrieved_ones() -> None:
    events = run(ScriptedCritic(**TWO), own=(OWN,), pictures=PICTURES)
    assert used(events) == [(own_id(OWN), "quixel butterfly"), ("zandor-1", "zandor car")]
    assert one(events, References).used[0].caption == "my-thing"


def test_two_own_images_of_one_name_stay_two() -> None:
    other = Image.new("RGB", (5, 9), "blue")
    twin = ImageRef(sha256=image_sha256(other), name=OWN.name)
    pictures = PICTURES | {twin.sha256: other}
    events = run(ScriptedCritic(**TWO), own=(OWN, twin), pictures=pictures)
    assert [reference.image for reference in one(events, References).used] == [MINE, other]
    assert len(set(events[-1].recipe.references)) == 2


def test_an_own_image_that_is_gone_is_named() -> None:
    with pytest.raises(UserError, match=r"my-thing\.png is not here any more; add it again"):
        run(own=(OWN,))


def test_the_loop_goes_on_until_the_critic_says_yes() -> None:
    painter = Painter()
    events = run(ScriptedCritic(match=["no", "no", "yes"]), painter, settings={"max_rounds": 5})
    assert list(map(type, events)) == [*CORRECTED[:-1], Verdict, *CORRECTED[2:-1], Verdict, Result]
    assert [event.of for event in events if isinstance(event, Verdict)] == ["draft", "result", "result"]
    assert used(events) == [("quixel-2", "quixel butterfly")], "what failed is not tried again"
    assert len(painter.drawn) == 3


def test_the_loop_keeps_references_of_concepts_that_are_no_longer_missing() -> None:
    critic = ScriptedCritic(
        match=["no", "no", "yes"],
        missing=["quixel butterfly\nzandor car", "zandor car"],
        captions=["a quixel butterfly\na zandor car", "a zandor car"],
    )
    events = run(critic, settings={"max_rounds": 2})
    assert used(events) == [("quixel-1", "quixel butterfly"), ("zandor-2", "zandor car")]


def test_without_a_yes_the_image_that_misses_least_is_kept() -> None:
    critic = ScriptedCritic(
        missing=["quixel butterfly\nsnow", "quixel butterfly", "quixel butterfly\nsnow"],
        captions=["a quixel butterfly\nsnow", "a quixel butterfly"],
    )
    events = run(critic, settings={"max_rounds": 2})
    rounds = [event for event in events if isinstance(event, References)]
    assert events[-1].recipe.references == tuple(reference.id for reference in rounds[0].used)


def test_a_correction_that_misses_more_does_not_replace_the_draft() -> None:
    critic = ScriptedCritic(missing=["quixel butterfly", "quixel butterfly\nsnow"])
    events = run(critic, settings={"max_rounds": 2})
    assert events[-1].image is events[0].image


def test_generation_mode_asks_for_what_is_needed_and_draws_once() -> None:
    critic, painter = ScriptedCritic(), Painter()
    events = run(critic, painter, settings={"mode": "generation"})
    assert list(map(type, events)) == [MissingConcepts, RetrievalCaptions, References, Result]
    assert len(painter.drawn) == 1
    assert all(image is None for _, image, _, _ in critic.asked)


def test_generation_mode_loops_too() -> None:
    events = run(ScriptedCritic(match=["no", "yes"]), settings={"mode": "generation", "max_rounds": 2})
    kinds = [MissingConcepts, RetrievalCaptions, References]
    assert list(map(type, events)) == [*kinds, Verdict, *kinds, Verdict, Result]


def test_personalization_shows_own_images_to_every_drawing() -> None:
    painter = Painter()
    events = run(painter=painter, settings={"mode": "personalization"}, own=(OWN,), pictures=PICTURES)
    assert [len(references_of(drawing)) for drawing in painter.drawn] == [1, 2]
    assert used(events) == [(own_id(OWN), PROMPT), ("quixel-1", "quixel butterfly")]


def test_personalization_needs_an_image() -> None:
    with pytest.raises(UserError, match="needs an image of yours"):
        run(settings={"mode": "personalization"})


def test_rephrase_draws_another_prompt_and_retrieves_nothing() -> None:
    painter = Painter()
    events = run(painter=painter, settings={"mode": "rephrase"})
    assert list(map(type, events)) == [Draft, Verdict, Rephrased, Result]
    assert painter.drawn[1].prompt == "an orange butterfly in the snow"
    assert events[-1].recipe.references == ()


def test_a_run_goes_on_from_what_is_known_and_yields_only_what_is_new() -> None:
    first = run()
    critic, painter = ScriptedCritic(), Painter()
    again = run(critic, painter, tuple(first[:4]), rejected=("quixel-1",))
    assert list(map(type, again)) == [References, Result]
    assert not critic.asked
    assert len(painter.drawn) == 1
    assert again[-1].recipe.references == ("quixel-2",)


def test_closing_the_run_closes_the_drawing() -> None:
    painter = Painter()
    events = ImageRAG().run(Request(prompt=PROMPT), tools(painter=painter))
    next(events)
    events.close()
    assert painter.closed == 1


def test_settings_reach_the_painter() -> None:
    painter = Painter()
    run(painter=painter, settings={"steps": 9, "guidance_scale": 2.5, "reference_scale": 0.5})
    assert {drawing.sampling for drawing in painter.drawn} == {Sampling(9, 2.5)}
    conditions = [drawing.condition for drawing in painter.drawn]
    assert [one.scale for one in conditions if isinstance(one, ImageReferences)] == [0.5]


@pytest.mark.parametrize("mode", ["draft", "generation", "personalization", "rephrase"])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_critic_says_the_events_keep_their_order(mode: str, seed: int) -> None:
    rng = Random(f"{mode}/{seed}")

    def lines(*choices: str) -> list[str]:
        return [rng.choice((*choices, "", "I can't say.")) for _ in range(6)]

    critic = ScriptedCritic(
        match=lines("yes", "no: a red car", "No."),
        missing=lines("quixel butterfly", "quixel butterfly\nzandor car", "snow"),
        captions=lines("a quixel butterfly", "a quixel butterfly\na zandor car"),
        needed=lines("quixel butterfly", "quixel butterfly\nzandor car"),
        rephrase=lines("an orange butterfly in the snow", "two\nlines"),
    )
    settings = {"mode": mode, "max_rounds": rng.choice((1, 3)), "references_per_concept": rng.choice((1, 2))}
    if rng.random() < 0.3:
        settings["similarity_threshold"] = 0.9
    choices = Choices(own=(OWN,) if mode == "personalization" else ())
    request = Request(prompt=PROMPT, seed=7, settings=settings, choices=choices)
    assert_grammar(list(ImageRAG().run(request, tools(critic, pictures=PICTURES))), mode)


def test_what_still_holds_after_another_choice() -> None:
    events = run()
    before = Request(prompt=PROMPT, seed=7)
    rejecting = before.changed(choices=Choices(rejected=("quixel-1",)))
    assert ImageRAG().still_known(rejecting, before, events) == tuple(events[:4])
    assert ImageRAG().still_known(before.changed(seed=8), before, events) == ()
    personal = before.changed(settings={"mode": "personalization"}, choices=Choices(own=(OWN,)))
    more = personal.changed(choices=Choices(own=(OWN, OWN)))
    assert ImageRAG().still_known(more, personal, events) == (), (
        "each drawing shows all of one's own pictures"
    )
