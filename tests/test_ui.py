"""The page's pure parts: vocabulary, markup, the story and its chapters, result files."""

from __future__ import annotations

import base64
import html
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import gradio as gr
import pytest
from PIL import Image

from ragdemo import events
from ragdemo.methods import METHODS
from ragdemo.recipe import Recipe, read_png
from ragdemo.types import Check, Reference, Request, UserError
from ragdemo.ui import ahead, chapters, comparison, prompt_help
from ragdemo.ui.ask import build_ask
from ragdemo.ui.choices import changed, controls_of
from ragdemo.ui.components import quiet_options
from ragdemo.ui.controls import CONTROLS, Choice, ControlPanel
from ragdemo.ui.markup import escape, mark_spans, marked
from ragdemo.ui.page import build_page
from ragdemo.ui.story import (
    Control,
    Phase,
    Story,
    begin,
    chapter_state,
    fail,
    finish,
    reduce,
    regenerate,
    stop,
)
from ragdemo.ui.vocabulary import Vocabulary
from tests.scripted_backend import ScriptedBackend, pocket_vocabulary

IMAGE = Image.new("RGB", (128, 128), "orange")
REQUEST = Request("a quixel butterfly in the snow", seed=7)
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
WORLD = Vocabulary(
    kinds=("butterfly", "fish"),
    scenes=("snow", "night"),
    common=("monarch butterfly",),
    rare=("quixel butterfly", "velmor butterfly", "dunis fish"),
)


def told(*happened: events.Event) -> Story:
    """A running story after these events."""
    story = begin(REQUEST)
    for event in happened:
        story = reduce(story, event)
    return story


def states(story: Story) -> tuple[str, ...]:
    """The states of the four chapters."""
    return tuple(chapter_state(story, name) for name in ("draft", "missing", "evidence", "after"))


@pytest.mark.parametrize("module", ["ragdemo.ui.page", "app"])
def test_the_page_is_built_without_a_model_library(module: str) -> None:
    code = (
        f"import sys, {module};"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'faiss', 'open_clip') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_words_are_named_once_and_plurals_are_known() -> None:
    assert WORLD.unknown_words("two Quixel butterflies and a zebra, a zebra in the snow") == ("zebra",)
    assert Vocabulary().unknown_words("a zebra") == ()


def test_examples_are_valid_prompts_of_different_kinds() -> None:
    assert WORLD.examples(3) == ("a quixel butterfly in the snow", "a dunis fish in the night")
    assert WORLD.unknown_words(WORLD.surprise(random.Random(3))) == ()


def test_hint_escapes_what_was_typed() -> None:
    assert "<script" not in prompt_help.unknown_words(WORLD, ATTACK)
    assert "alert" in prompt_help.unknown_words(WORLD, ATTACK)


def test_escape_leaves_nothing_that_html_or_a_template_would_read() -> None:
    assert not set(escape(ATTACK)) & set("<>{}$@`\"'")


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
    assert states(told()) == ("active", "waiting", "waiting", "waiting")
    assert states(told(DRAFT)) == ("done", "active", "waiting", "waiting")
    assert states(told(DRAFT, NO, MISSING)) == ("done", "active", "waiting", "waiting")
    assert states(told(DRAFT, NO, MISSING, CAPTIONS)) == ("done", "done", "active", "waiting")
    assert states(told(DRAFT, NO, MISSING, CAPTIONS, FOUND)) == ("done", "done", "done", "active")
    assert states(finish(told(DRAFT, NO, MISSING, CAPTIONS, FOUND, RESULT))) == ("done",) * 4


def test_an_approved_draft_skips_the_evidence_and_says_so() -> None:
    story = told(DRAFT, events.Verdict(True, "Yes.", 0.1))
    assert states(story) == ("done", "done", "skipped", "active")
    assert "Nothing: the critic finds everything" in chapters.missing(story)
    assert "nothing was searched" in chapters.evidence(story)
    assert "stays as it is" in chapters.after(finish(reduce(story, RESULT)))


def test_a_stopped_run_halts_where_it_was_and_a_finished_one_cannot_be_stopped() -> None:
    assert states(stop(told(DRAFT)))[1] == "halted"
    assert "Stopped before this" in chapters.missing(stop(told(DRAFT)))
    assert stop(finish(told(DRAFT, RESULT))).phase is Phase.DONE


def test_progress_belongs_to_the_active_chapter() -> None:
    story = told(events.Progress("draft", 3, 20))
    assert "3 of 20" in chapters.draft(story)
    assert 'aria-valuenow="3"' in chapters.draft(story)
    assert "of 20" not in chapters.after(story)


def test_evidence_shows_score_concept_and_use() -> None:
    cards = chapters.evidence(told(DRAFT, NO, MISSING, CAPTIONS, FOUND))
    assert "3,120 images searched · 9 ms" in cards
    for shown in ("0.41", "0.31", "✓ used", "not used", "keywords 2.5", "a velmor butterfly"):
        assert shown in cards


def test_an_unread_reply_is_told() -> None:
    unread = replace(MISSING, understood=False, tries=3, concepts=())
    assert "after 3 tries" in chapters.missing(told(DRAFT, NO, unread))


@pytest.mark.parametrize(
    "render", [chapters.draft, chapters.missing, chapters.evidence, chapters.after, comparison.controls]
)
def test_every_text_from_outside_is_escaped(render: Callable[[Story], str]) -> None:
    bad = Reference(ATTACK, ATTACK, 0.4, ATTACK, IMAGE)
    story = told(
        DRAFT,
        events.Verdict(False, ATTACK, 0.1),
        events.MissingConcepts((ATTACK,), ATTACK, 0.1),
        events.RetrievalCaptions((ATTACK,), (ATTACK,), ATTACK, 0.1),
        events.References((bad,), (bad,), 1, 0.1),
        events.Result(IMAGE, replace(RECIPE, request=Request(ATTACK)), 1.3),
        events.Verdict(True, ATTACK, 0.1, of="result"),
    )
    controls = (Control(ATTACK, ATTACK, IMAGE, (Check(ATTACK, True),)),)
    rendered = render(replace(finish(story), request=Request(ATTACK), controls=controls))
    assert "alert" in rendered
    assert "<script" not in rendered
    assert "{{" not in rendered
    assert "${" not in rendered


def test_an_error_is_announced_as_text() -> None:
    assert "<script" not in chapters.announcement(fail(told(), ATTACK))
    assert 'role="alert"' in chapters.announcement(fail(told(), "The prompt is empty."))


def test_a_result_is_kept_with_its_recipe_under_a_harmless_name(tmp_path: Path) -> None:
    request = Request("../../etc/<b>Quixel</b> 蝶&x=1", seed=3)
    recipe = replace(RECIPE, request=request)
    story = replace(finish(told(DRAFT, events.Result(IMAGE, recipe, 1.3))), request=request)
    file = comparison.download(story)
    assert 'download="etc-b-quixel-b-x-1-3.png"' in file
    (tmp_path / "kept.png").write_bytes(base64.b64decode(re.search(r"base64,([^\"]+)", file)[1]))
    assert read_png(tmp_path / "kept.png") == recipe
    link = re.search(r'data-link="\?([^"]+)"', html.unescape(comparison.keep(story)))[1]
    assert parse_qs(link) == {"prompt": [request.prompt], "method": ["imagerag"], "seed": ["3"]}
    assert comparison.keep(told(DRAFT, RESULT)) == ""  # it still runs
    assert comparison.download(Story()) == ""


def test_the_slider_needs_both_pictures() -> None:
    both = finish(told(DRAFT, NO, MISSING, CAPTIONS, FOUND, RESULT))
    assert chapters.after(both).count('type="range"') == 1
    alone = replace(both, draft=None, request=replace(REQUEST, settings={"mode": "generation"}))
    assert 'type="range"' not in chapters.after(alone)


def test_settings_hold_only_what_differs_from_the_defaults() -> None:
    panel = ControlPanel(["imagerag"])
    defaults = panel.values("imagerag", {})
    assert panel.settings("imagerag", defaults) == {}
    asked = {"mode": "rephrase", "references_per_concept": 3, "reference_scale": 0.5, "hybrid": False}
    assert panel.settings("imagerag", panel.values("imagerag", asked)) == asked
    typed = [
        2.0 if control.setting == "references_per_concept" else value
        for value, control in zip(defaults, CONTROLS["imagerag"], strict=True)
    ]
    assert isinstance(panel.settings("imagerag", typed)["references_per_concept"], int)
    with pytest.raises(UserError, match=r"^Mode cannot be 'sideways'; choose another value\.$"):
        panel.settings("imagerag", ["sideways", *defaults[1:]])
    with pytest.raises(UserError, match="did not arrive whole"):
        panel.settings("imagerag", defaults[:3])


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_that_the_page_offers_is_one_of_the_method(method: str) -> None:
    for control in CONTROLS[method]:
        low = control.choices[-1][0] if isinstance(control, Choice) else control.low
        METHODS[method].load().check(Request("a fox", settings={control.setting: control.read(low)}))


def done(*happened: events.Event, request: Request = REQUEST) -> Story:
    """A story that has ended."""
    return finish(replace(told(*happened), request=request))


def test_a_card_click_changes_the_request_and_nothing_else() -> None:
    story = done(DRAFT, NO, MISSING, CAPTIONS, FOUND, RESULT)
    assert changed(story, "reject", "lib/1") == replace(REQUEST, rejected=("lib/1",))
    assert changed(story, "use", "lib/2") == replace(REQUEST, pinned=("lib/2",))
    pinned = replace(story, request=replace(REQUEST, pinned=("lib/1",)))
    assert changed(pinned, "use", "lib/2") == replace(
        REQUEST, pinned=("lib/2",)
    )  # it takes the other's place
    assert changed(pinned, "unpin", "lib/1") == REQUEST
    assert changed(pinned, "reject", "lib/1") == replace(REQUEST, rejected=("lib/1",))
    rejected = replace(story, request=replace(REQUEST, rejected=("lib/9",)))
    assert changed(rejected, "restore", "") == REQUEST


def test_a_click_that_fits_no_card_changes_nothing() -> None:
    story = done(DRAFT, NO, MISSING, CAPTIONS, FOUND, RESULT)
    assert changed(story, "reject", "lib/99") is None
    assert changed(told(DRAFT, NO, MISSING, CAPTIONS, FOUND), "reject", "lib/1") is None  # it still runs


def test_a_control_shows_as_many_other_references_as_the_run() -> None:
    class Few(ScriptedBackend):
        def alike(self, image_id: str, seed: int) -> str:
            return f"lib/{seed % 4}"

        def run(self, request: Request, replay: Sequence[events.Event] = ()) -> Iterator[events.Event]:
            asked.append(request)
            return iter(())

    asked: list[Request] = []
    story = done(DRAFT, NO, MISSING, CAPTIONS, replace(FOUND, used=(USED, OTHER)), RESULT)
    next(controls_of(story, Few()))
    assert sorted(asked[0].pinned) == ["lib/0", "lib/3"]


def test_a_story_told_again_begins_at_its_references() -> None:
    story = done(DRAFT, NO, MISSING, CAPTIONS, FOUND, RESULT)
    again = regenerate(story, replace(REQUEST, rejected=("lib/1",)))
    assert again.events == (DRAFT, NO, MISSING, CAPTIONS)
    assert states(again) == ("done", "done", "active", "waiting")
    assert again.result is None


def test_chapters_that_a_mode_leaves_out_are_said_to_be() -> None:
    def of(mode: str, *happened: events.Event) -> Story:
        return done(*happened, request=replace(REQUEST, settings={"mode": mode}))

    generation = of("generation", MISSING, CAPTIONS, FOUND, RESULT)
    assert states(generation) == ("skipped", "done", "done", "done")
    assert "No draft in this mode" in chapters.draft(generation)
    assert comparison.pair(generation).count("<img") == 1
    rephrased = events.Rephrased("a plain butterfly", "a plain butterfly", 0.1)
    words = of("rephrase", DRAFT, NO, rephrased, RESULT)
    assert states(words) == ("done", "done", "skipped", "done")
    assert "a plain butterfly" in chapters.missing(words)
    assert "in other words" in comparison.pair(words)


def test_checks_are_told_in_signs_and_in_words() -> None:
    shown = comparison.checklist((Check("kind", True), Check("<b>", False)))
    assert "✓" in shown
    assert "not shown" in shown
    assert "<b>" not in shown
    assert comparison.checklist(()) == ""


def test_what_the_browser_hands_on_becomes_a_request_or_a_sentence() -> None:
    with gr.Blocks():
        column = build_ask(tuple(METHODS.values()), pocket_vocabulary(), quiet_options(gr.HTML()))
    settings = column.panel.values("imagerag", {"steps": 8})
    asked = {"prompt": "a fox", "method": "imagerag", "seed": 3, "settings": settings}
    wanted = Request("a fox", "imagerag", 3, settings={"steps": 8}, own_images=("/own.png",))
    assert column.request(asked, ["/own.png"]) == wanted
    for broken in (None, [], {"prompt": "a fox"}, {**asked, "path": "/etc/passwd"}):
        with pytest.raises(UserError, match="did not arrive whole"):
            column.request(broken, [])
    for wrong in ({"prompt": 5}, {"prompt": " "}, {"seed": None}, {"seed": 1.5}, {"settings": {}}):
        with pytest.raises(UserError):
            column.request(asked | wrong, [])


def test_the_queue_looks_for_work_seldom_while_something_runs() -> None:
    queue = build_page(ScriptedBackend(), tuple(METHODS.values()), pocket_vocabulary())._queue
    queue.active_jobs = [None, None]
    free = queue.sleep_when_free
    queue.active_jobs = [None, [object()]]
    assert 0.001 < free < queue.sleep_when_free < 0.1


def test_only_a_story_that_has_ended_offers_other_references() -> None:
    running = told(DRAFT, NO, MISSING, CAPTIONS, FOUND)
    assert "data-act" not in chapters.evidence(running)
    assert chapters.evidence(done(*running.events, RESULT)).count("data-act") == 4


def test_events_that_come_together_are_told_together_and_none_is_lost() -> None:
    def run() -> Iterator[events.Event]:
        yield DRAFT
        time.sleep(0.02)
        yield NO
        yield MISSING
        time.sleep(5 * ahead.GATHER_SECONDS)
        yield FOUND

    with ahead.Ahead(run()) as batches:
        told_ones = [(tuple(batch), batches.has_ended) for batch in batches]
    assert told_ones == [((DRAFT,), False), ((NO, MISSING), False), ((FOUND,), True)]


def test_a_run_that_keeps_its_first_event_waiting_says_so_with_an_empty_batch() -> None:
    def run() -> Iterator[events.Event]:
        time.sleep(2 * ahead.FIRST_SECONDS)
        yield DRAFT

    with ahead.Ahead(run()) as batches:
        assert list(batches) == [[], [DRAFT]]


def test_what_breaks_a_run_is_raised_after_what_it_had_told() -> None:
    def run() -> Iterator[events.Event]:
        yield DRAFT
        raise KeyError("nobody foresaw this")

    seen: list[events.Event] = []

    def listen() -> None:
        with ahead.Ahead(run()) as batches:
            for batch in batches:
                seen.extend(batch)

    with pytest.raises(KeyError, match="nobody foresaw this"):
        listen()
    assert seen == [DRAFT]


def test_leaving_a_run_closes_it_and_waits_for_nothing() -> None:
    closed = threading.Event()

    def run() -> Iterator[events.Event]:
        try:
            while True:
                time.sleep(0.005)
                yield events.Progress("draft", 1, 2)
        finally:
            closed.set()

    with ahead.Ahead(run()) as batches:
        first = next(iter(batches))
    assert 1 <= len(first) <= 5  # events without end are told as they come, too
    assert closed.wait(10)
