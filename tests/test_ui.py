"""The page's pure parts: vocabulary, templates, a run's chapters, settings' controls."""

from __future__ import annotations

import base64
import html
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import gradio as gr
import pytest
from PIL import Image
from pydantic import Field

from ragdemo import events
from ragdemo.events import Check, Counterfactual, Reference
from ragdemo.methods import METHODS
from ragdemo.methods.chapters import DRAFT as DRAFT_CHAPTER
from ragdemo.methods.imagerag.method import ImageRAG
from ragdemo.methods.settings import Settings
from ragdemo.profiles import JANUS_PRO, POCKET, SDXL, Profile
from ragdemo.recipe import Recipe, read_png
from ragdemo.request import Request
from ragdemo.run.base import offered_methods
from ragdemo.run.offers import Offer, Offers
from ragdemo.ui.ask import Panel, build_ask, unknown_words
from ragdemo.ui.markup import download, mark_spans, marked, render, render_chapters
from ragdemo.ui.runs import Pace
from ragdemo.ui.story import Kept, Phase, Story, begin, chapter_states, with_choice
from ragdemo.ui.style import quiet_options
from ragdemo.ui.vocabulary import Vocabulary

IMAGE = Image.new("RGB", (128, 128), "orange")
REQUEST = Request(prompt="a quixel butterfly in the snow", seed=7)
RECIPE = Recipe(REQUEST, ("lib/1",), "f" * 16, {"ragdemo": "test"})
ATTACK = "<script>alert(1)</script> {{7*7}} ${7*7} @children"
DRAFT = events.Draft(IMAGE, 1.2)
NO = events.Verdict(False, "No.", 0.1)
MISSING = events.MissingConcepts(("quixel butterfly",), "Missing: quixel butterfly", 0.1)
CAPTIONS = events.RetrievalCaptions(("quixel butterfly",), ("a photo of a quixel butterfly",), "a photo", 0.1)
USED = Reference("lib/1", "a quixel butterfly", 0.41, "quixel butterfly", IMAGE)
OTHER = Reference("lib/2", "a velmor butterfly", 0.31, "quixel butterfly", IMAGE, keyword_score=2.5)
FOUND = events.References((USED,), (OTHER,), 3120, 0.009)
RESULT = events.Result(IMAGE, RECIPE, 1.3)
WHOLE = (DRAFT, NO, MISSING, CAPTIONS, FOUND, RESULT)
ROW = ("draft", "missing", "reference", "result")
WORLD = Vocabulary(
    kinds=("butterfly", "fish"),
    scenes=("snow", "night"),
    common=("monarch butterfly",),
    rare=("quixel butterfly", "velmor butterfly", "dunis fish"),
)


def running(*happened: events.Event, request: Request = REQUEST) -> Story:
    """A run after these events."""
    return begin(request).after(happened)


def done(*happened: events.Event, request: Request = REQUEST) -> Story:
    """A run that has ended."""
    return replace(running(*happened, request=request).finished(), is_settled=True)


def states(story: Story) -> tuple[str, ...]:
    """The states of the row's chapters."""
    found = chapter_states(story, ImageRAG.chapters)
    return tuple(found[name] for name in ROW)


def shown(story: Story, place: str = "row", method: str = "imagerag") -> str:
    """The HTML of a place."""
    return render_chapters(story, METHODS[method].chapters, place)


def panel(methods: list[type], profile: Profile = POCKET) -> Panel:
    """The controls of methods."""
    with gr.Blocks():
        offers = Offers((Offer(profile, tuple(methods)),))
        return build_ask(offers, ["pocket"], WORLD, quiet_options(gr.HTML())).panel


def values(controls: Panel) -> dict[object, object]:
    """What the browser sends if nobody touches a control."""
    return {c.component: c.default for rows in controls.controls.values() for c in rows}


@pytest.mark.parametrize("module", ["ragdemo.ui.page", "app"])
def test_the_page_is_built_without_a_model_library(module: str) -> None:
    code = (
        f"import sys, {module};"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'faiss', 'open_clip') if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


def test_unknown_words_are_named_once_and_plurals_are_known() -> None:
    assert WORLD.unknown_words("two Quixel butterflies and a zebra, a zebra in the snow") == ("zebra",)
    assert Vocabulary().unknown_words("a zebra") == ()


def test_examples_are_valid_prompts_of_different_kinds() -> None:
    assert WORLD.examples(3) == ("a quixel butterfly in the snow", "a dunis fish in the night")
    assert WORLD.unknown_words(WORLD.surprise(random.Random(3))) == ()


def test_the_hint_escapes_what_was_typed() -> None:
    assert "<script" not in unknown_words(WORLD, ATTACK)
    assert "alert" in unknown_words(WORLD, ATTACK)


@pytest.mark.parametrize(
    ("text", "spans", "hits"),
    [
        ("a Quixel  butterfly", ["quixel butterfly"], ["Quixel  butterfly"]),
        ("a quixel and a butterfly", ["the quixel butterfly"], ["quixel", "butterfly"]),
        ("a car", ["scar", "(", ""], []),
        ("a red car, a red robot", ["red"], ["red", "red"]),
    ],
)
def test_mark_spans_marks_whole_words_and_keeps_the_text(
    text: str, spans: list[str], hits: list[str]
) -> None:
    pieces = mark_spans(text, spans)
    assert [piece for piece, hit in pieces if hit] == hits
    assert "".join(piece for piece, _ in pieces) == text


def test_marked_escapes_inside_and_outside_of_marks() -> None:
    assert marked("<b> quixel", ["quixel"]) == "&lt;b&gt; <mark>quixel</mark>"


def test_chapters_open_one_after_another() -> None:
    assert states(Story()) == ("waiting",) * 4
    assert states(running()) == ("active", "waiting", "waiting", "waiting")
    assert states(running(DRAFT)) == ("done", "active", "waiting", "waiting")
    assert states(running(*WHOLE[:3])) == ("done", "active", "waiting", "waiting")
    assert states(running(*WHOLE[:4])) == ("done", "done", "active", "waiting")
    assert states(running(*WHOLE[:5])) == ("done", "done", "done", "active")
    assert states(done(*WHOLE)) == ("done",) * 4


def test_a_second_round_makes_its_chapters_active_again() -> None:
    again = running(*WHOLE[:5], events.Progress("critic", 0, 1))
    assert states(again) == ("done", "active", "done", "waiting")
    assert "Missing: quixel butterfly" in shown(again)


def test_an_approved_draft_skips_the_references_and_says_so() -> None:
    story = done(DRAFT, events.Verdict(True, "Yes.", 0.1), RESULT)
    assert states(story) == ("done", "skipped", "skipped", "done")
    for words in ("Nothing: the critic finds everything", "nothing was searched", "stays as it is"):
        assert words in shown(story)
    assert '<section class="chapter missing is-done"' in shown(story)


def test_a_stopped_run_halts_where_it_was() -> None:
    stopped = running(DRAFT).stopped()
    assert states(stopped) == ("done", "halted", "waiting", "waiting")
    assert "Stopped before this" in shown(stopped)


def test_progress_belongs_to_the_active_chapter() -> None:
    page = shown(running(events.Progress("draft", 3, 20)))
    assert page.count("3 of 20") == 1
    assert page.index('aria-valuenow="3"') < page.index("title-missing")


def test_what_is_drawn_so_far_stays_until_more_is() -> None:
    picture = Image.new("RGB", (16, 16), "teal")
    story = running(events.Progress("draft", 1, 20, picture), events.Progress("draft", 2, 20))
    assert story.progress is not None
    assert (story.progress.step, story.progress.preview) == (2, picture)
    assert "What is drawn so far" in shown(story)
    assert story.after([events.Progress("critic", 0, 1)]).progress == events.Progress("critic", 0, 1)


def test_bare_progress_waits_and_a_preview_does_not() -> None:
    pace = Pace()
    assert pace.is_due([events.Progress("draft", 1, 20)])
    assert not pace.is_due([events.Progress("draft", 2, 20)])
    preview = events.Progress("draft", 3, 20, Image.new("RGB", (16, 16)))
    assert pace.is_due([preview, events.Progress("draft", 4, 20)])


def test_candidates_show_score_concept_and_use() -> None:
    cards = shown(running(*WHOLE[:5]), "below")
    for words in (
        "3,120 images searched · 9 ms",
        "0.41",
        "0.31",
        "✓ used",
        "not used",
        "keywords 2.5",
        "a velmor butterfly",
    ):
        assert words in cards


def test_a_reply_that_could_not_be_read_is_said_to_be() -> None:
    unread = replace(MISSING, understood=False, tries=3, concepts=())
    assert "after 3 tries" in shown(running(DRAFT, NO, unread))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", ["row", "below", "check"])
def test_every_text_from_outside_is_escaped(method: str, place: str) -> None:
    bad = Reference(ATTACK, ATTACK, 0.4, ATTACK, IMAGE)
    realrag = [
        events.Event.kinds["ReflectiveNegative"](bad, 0.1),
        events.Event.kinds["Rankings"](ATTACK, (_ranking(ATTACK, bad), _ranking("zero", bad)), 0.1),
    ]
    story = done(
        DRAFT,
        events.Verdict(False, ATTACK, 0.1),
        events.MissingConcepts((ATTACK,), ATTACK, 0.1),
        *realrag,
        events.RetrievalCaptions((ATTACK,), (ATTACK,), ATTACK, 0.1),
        events.References((bad,), (bad,), 1, 0.1),
        events.Result(IMAGE, replace(RECIPE, request=Request(prompt=ATTACK)), 1.3),
        events.Verdict(True, ATTACK, 0.1, of="result"),
        Counterfactual(ATTACK, ATTACK, ATTACK, ATTACK, 3, (), IMAGE, 0.1),
        request=Request(prompt=ATTACK),
    )
    story = replace(story, found={0: (Check(ATTACK, True),), len(story.events) - 1: (Check(ATTACK, False),)})
    page = render("counterfactuals.html", run=story) if place == "check" else shown(story, place, method)
    assert "alert" in page
    assert "<script" not in page


def _ranking(retriever: str, reference: Reference) -> object:
    from ragdemo.methods.realrag.events import Ranking

    return Ranking(retriever, (reference,))


def test_a_chapter_that_breaks_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "odd.html").write_text("{{ run.last('Draft').nothing.at_all }}")
    odd = replace(DRAFT_CHAPTER, name="odd", template=tmp_path / "odd.html")
    page = render_chapters(done(*WHOLE), (odd, DRAFT_CHAPTER), "row")
    assert "This part cannot be shown" in page
    assert page.count("<img") == 1


def test_a_result_is_kept_with_its_recipe_under_a_harmless_name(tmp_path: Path) -> None:
    request = Request(prompt="../../etc/<b>Quixel</b> 蝶&x=1", seed=3)
    recipe = replace(RECIPE, request=request)
    story = done(DRAFT, events.Result(IMAGE, recipe, 1.3), request=request)
    file = download(story)
    assert 'download="etc-b-quixel-b-x-1-3.png"' in file
    found = re.search(r"base64,([^\"]+)", file)
    assert found is not None
    (tmp_path / "kept.png").write_bytes(base64.b64decode(found[1]))
    assert read_png(tmp_path / "kept.png") == recipe
    link = re.search(r'data-link="\?([^"]+)"', html.unescape(shown(story, "below")))
    assert link is not None
    assert parse_qs(link[1]) == {"prompt": [request.prompt], "method": ["imagerag"], "seed": ["3"]}
    assert "data-keep" not in shown(running(DRAFT, RESULT), "below")  # it still runs
    assert download(Story()) == ""


def test_the_slider_needs_both_pictures() -> None:
    assert shown(done(*WHOLE), "below").count('type="range"') == 1
    alone = done(*WHOLE[2:], request=REQUEST.changed(settings={"mode": "generation"}))
    assert 'type="range"' not in shown(alone, "below")
    assert shown(alone, "below").count("<figure>") == 1


@pytest.mark.parametrize(
    ("method", "profile"),
    [(one.name, profile) for profile in (POCKET, SDXL, JANUS_PRO) for one in offered_methods(profile)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_control_stands_at_the_value_that_is_used(method: str, profile: Profile) -> None:
    controls = panel([METHODS[method]], profile)
    defaults = {control.setting: control.default for control in controls.controls[profile.name, method]}
    role = METHODS[method].generator.name
    for setting, value in profile.spec(role).defaults.items():
        assert defaults[setting] == value
    assert controls.settings((profile.name, method), values(controls)) == {}


@pytest.mark.parametrize("method", METHODS)
def test_every_value_that_a_control_offers_is_one_of_the_method(method: str) -> None:
    for control in panel([METHODS[method]]).controls["pocket", method]:
        component = control.component
        if isinstance(component, gr.Checkbox):
            offered = [False, True]
        else:
            offered = list(control.choices or ()) or [component.minimum, component.maximum]
        for value in offered:
            METHODS[method].Settings.parse({control.setting: control.read(value)})


def test_settings_are_read_from_controls_and_written_back() -> None:
    controls, key = panel([METHODS["imagerag"], METHODS["realrag"]]), ("pocket", "imagerag")
    asked = {"mode": "rephrase", "references_per_concept": 3, "reference_scale": 0.5, "hybrid": False}
    data = values(controls) | {
        component: value.get("value") if isinstance(value, dict) else value
        for component, value in controls.updates(key, asked).items()
    }
    assert controls.settings(key, data) == asked
    whole = next(c for c in controls.controls[key] if c.setting == "references_per_concept")
    assert isinstance(controls.settings(key, data | {whole.component: 2.0})[whole.setting], int)
    assert controls.kept(key, {"steps": 8, "unheard_of": [1]}) == {"unheard_of": [1]}


def test_a_setting_beyond_its_slider_widens_it() -> None:
    steps = next(
        c for c in panel([METHODS["imagerag"]]).controls["pocket", "imagerag"] if c.setting == "steps"
    )
    written = steps.write(120)
    assert (written["value"], written["maximum"]) == (120, 120)


def test_new_settings_get_controls_of_their_kind() -> None:
    class Odd(Settings):
        is_loud: bool = Field(False, title="Loud")
        words: str = Field("none", title="Words")
        places: list[str] = Field([], title="Places")
        blend: float = Field(0.5, title="Blend", ge=0, le=1)

    class Toy(ImageRAG):
        name = "toy"
        Settings = Odd

    controls = panel([Toy]).controls["pocket", "toy"]
    kinds = {control.setting: type(control.component) for control in controls}
    assert kinds == {"is_loud": gr.Checkbox, "words": gr.Textbox, "blend": gr.Slider}


def test_a_card_click_changes_the_choices_and_nothing_else() -> None:
    def choices(**chosen: object) -> Request:
        return REQUEST.changed(choices=REQUEST.choices.changed(**chosen))

    story = done(*WHOLE)
    assert with_choice(story, "reject", "lib/1") == choices(rejected=("lib/1",))
    assert with_choice(story, "use", "lib/2") == choices(pinned=("lib/2",))
    pinned = replace(story, request=choices(pinned=("lib/1",)))
    assert with_choice(pinned, "use", "lib/2") == choices(pinned=("lib/2",))  # it takes the other's place
    assert with_choice(pinned, "unpin", "lib/1") == REQUEST
    assert with_choice(pinned, "reject", "lib/1") == choices(rejected=("lib/1",))
    rejected = replace(story, request=choices(rejected=("lib/9",)))
    assert with_choice(rejected, "restore", "") == REQUEST


def test_a_click_that_fits_no_card_changes_nothing() -> None:
    assert with_choice(done(*WHOLE), "reject", "lib/99") is None
    assert with_choice(running(*WHOLE[:5]), "reject", "lib/1") is None  # it still runs


def test_chapters_that_a_mode_leaves_out_are_said_to_be() -> None:
    def of(mode: str, *happened: events.Event) -> Story:
        return done(*happened, request=REQUEST.changed(settings={"mode": mode}))

    assert states(begin(REQUEST).after([events.Progress("critic", 0, 1)]))[:2] == ("skipped", "active")
    generation = of("generation", *WHOLE[2:])
    assert states(generation) == ("skipped", "done", "done", "done")
    assert "No draft in this mode" in shown(generation)
    rephrased = events.Rephrased("a plain butterfly", "a plain butterfly", 0.1)
    words = of("rephrase", DRAFT, NO, rephrased, RESULT)
    assert states(words) == ("done", "done", "skipped", "done")
    assert "a plain butterfly" in shown(words)
    assert "only says the prompt in other words" in shown(words)
    assert "in other words" in shown(words, "below")


def test_checks_are_shown_in_signs_and_in_words() -> None:
    story = replace(done(*WHOLE), found={0: (Check("kind", True), Check("<b>", False))})
    assert story.checks(DRAFT) == story.found[0]
    page = shown(story)
    for words in ("✓", "not shown", "&lt;b&gt;"):
        assert words in page
    assert "checklist" not in shown(done(*WHOLE))


def test_only_a_run_that_has_ended_offers_other_references() -> None:
    assert "data-act" not in shown(running(*WHOLE[:5]), "below")
    assert shown(done(*WHOLE), "below").count("data-act") == 4


def test_an_opened_picture_whose_library_has_changed_says_so() -> None:
    def note(**changed: object) -> str:
        return replace(running(*WHOLE), opened=replace(RECIPE, **changed)).finished().note

    assert note() == ""
    assert note(library_fingerprint="0" * 16).startswith(
        "The library has changed since the picture was saved"
    )
    assert "The library and the models have changed" in note(library_fingerprint="0", weights={"critic": "1"})


def test_a_failure_after_the_result_keeps_it() -> None:
    failed = done(*WHOLE).failed("Out of memory.")
    assert (failed.phase, failed.message, failed.can_choose) == (Phase.DONE, "Out of memory.", True)
    assert running(DRAFT).failed("Out of memory.").phase is Phase.FAILED


def test_a_kept_run_is_the_same_and_holds_each_picture_once() -> None:
    story = replace(done(*WHOLE), found={0: (Check("kind", True),)})
    kept = Kept.of(story)
    assert len(kept.pictures) == 1
    opened = kept.opened()
    assert [event.summary for event in opened.events] == [event.summary for event in story.events]
    assert opened.last(events.Draft).image.tobytes() == IMAGE.tobytes()
    assert (opened.request, opened.found, opened.phase) == (story.request, story.found, story.phase)
    assert shown(opened) == shown(story)
