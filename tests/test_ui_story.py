"""A run's page as a stranger meets it: which run is shown, what was gained, and whether that is the retrieval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from ragdemo.events import Check, Counterfactual, Draft, Event, References, Result, Verdict
from ragdemo.recipe import Recipe
from ragdemo.request import Request
from ragdemo.ui.gains import concluded, gained
from ragdemo.ui.story import Story, begin
from scripts.browser import visit
from tests.scripted_method import reference
from tests.scripted_page import RUN, ScriptedPage, ask, finished

PROMPT = "a quixel butterfly in the snow"
IMAGE = Image.new("RGB", (8, 8))


@pytest.fixture
def phone(browser: Browser, scripted: ScriptedPage) -> Iterator[Page]:
    """A fresh visitor with a telephone."""
    scripted.reset()
    with visit(browser, scripted.address, 390, 700) as opened:
        yield opened


def test_an_edit_marks_the_old_run_and_says_on_what_its_buttons_act(
    page: Page, scripted: ScriptedPage
) -> None:
    ask(page, PROMPT)
    finished(page)
    note = page.locator("#stale p")
    expect(note).to_be_empty()
    page.locator("#prompt textarea").fill("a tin robot in the city")
    expect(note).to_contain_text(f"Below is the run of “{PROMPT}” by Scripted, seed 5")
    page.locator(".candidates .card").nth(1).get_by_role("button", name="Use").click()
    finished(page)
    assert scripted.method.requests[-1].prompt == PROMPT
    expect(note).to_contain_text("act on that one")
    page.locator("#prompt textarea").fill(PROMPT)
    expect(note).to_be_empty()
    page.locator("#method label", has_text="RealRAG").click()
    expect(note).to_contain_text("by Scripted")
    page.locator("#method label", has_text="Scripted").click()
    expect(note).to_be_empty()


def test_arrows_move_within_the_methods(page: Page) -> None:
    page.locator("#method input").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#method input:checked")).to_have_value("imagerag")
    expect(page.locator("#method input").nth(1)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#method input:checked")).to_have_value("realrag")


def test_the_empty_chapters_are_those_of_the_chosen_method(page: Page, scripted: ScriptedPage) -> None:
    page.goto(f"{scripted.address}?prompt=a+fox&seed=-1")  # cannot be asked: no run is shown
    expect(page.locator(".chapter.missing")).to_be_visible()
    expect(page.locator("#announcement")).to_contain_text("out of range")  # the link has been looked at
    page.locator("#method label", has_text="RealRAG").click()
    expect(page.locator(".chapter.anyway")).to_be_visible()
    expect(page.locator(".chapter.missing")).to_have_count(0)


def test_on_a_phone_the_first_change_is_in_view_and_no_keys_are_named(phone: Page) -> None:
    shown = "getComputedStyle(document.querySelector('#run'), '::after').content"
    phone.locator("#prompt textarea").fill(PROMPT)
    phone.locator("#run").click()
    expect(phone.locator(".chapter.draft")).to_be_in_viewport()
    finished(phone)
    expect(phone.locator(".chapter.draft img")).to_be_in_viewport()
    assert "Ctrl" in phone.evaluate(shown)  # this machine has a mouse


def test_a_seed_that_is_none_is_named(page: Page, scripted: ScriptedPage) -> None:
    for typed, sentence in (
        ("1.5", "The seed 1.5 is out of range"),
        ("", "The seed is empty; choose a whole number"),
    ):
        page.locator("#seed input").fill(typed)
        page.locator("#run").click()
        expect(page.get_by_role("alert")).to_contain_text(sentence)
    assert scripted.method.requests == []


def test_a_surprise_is_drawn_at_once(page: Page, scripted: ScriptedPage) -> None:
    page.get_by_role("button", name="surprise me").click()
    finished(page)
    words = page.locator("#prompt textarea").input_value()
    assert scripted.method.requests[-1].prompt == words
    assert any(name in words for name in scripted.services.vocabulary.rare)


def test_a_heading_is_its_title_alone(page: Page) -> None:
    ask(page, PROMPT)
    finished(page)
    for heading in page.locator("#row h2").all():
        assert heading.evaluate("(h) => [...h.childNodes].at(-1).textContent.trim()") in (
            "The draft", "What is missing", "The reference", "The result"
        )  # fmt: skip
    expect(page.get_by_role("heading", name="The result", exact=True)).to_be_visible()


def test_no_status_word_is_left_behind(page: Page) -> None:
    ask(page, "draw a fish forever")
    expect(page.locator(".chapter.draft .progress")).to_contain_text(" of ", timeout=RUN)
    page.locator("#stop").click()
    expect(page.locator("#announcement")).to_have_text("Stopped.", timeout=RUN)
    page.get_by_role("tab", name="Library").click()
    page.locator("#library-query").get_by_role("textbox").fill("a fish")
    page.locator("#library-query").get_by_role("textbox").press("Enter")
    expect(page.locator("#library-summary")).to_contain_text("nearest to", timeout=RUN)
    said = page.evaluate("document.querySelector('.gradio-container').innerText")
    whole = page.evaluate("document.querySelector('.gradio-container').textContent")
    assert "Error" not in said
    assert "common." not in whole


def test_the_counterfactuals_conclude_in_a_sentence(page: Page) -> None:
    ask(page, PROMPT)
    finished(page)
    page.get_by_role("button", name="Check it").click()
    expect(page.locator(".concluded")).to_have_text(
        "Right in 0 of 4 without the reference, and not right with it either.", timeout=RUN
    )
    figures = page.locator(".counterfactuals figure")
    expect(figures.first).to_contain_text("The result with its reference")
    expect(figures.filter(has_text="the generator alone")).to_have_count(4)


# What is said of checks


def checks(*shown: bool) -> tuple[Check, ...]:
    names = ("quixel butterfly", "kind", "colours", "pattern", "outline", "snow")
    return tuple(Check(name, one) for name, one in zip(names, shown, strict=True))


def a_story(before: tuple[Check, ...], after: tuple[Check, ...], *events: Event) -> Story:
    """A run that ended, whose pictures have been looked at."""
    request = Request(prompt=PROMPT)
    result = Result(IMAGE, Recipe(request, (), "f" * 64, {}, {}), 1.0)
    all_events = (Draft(IMAGE, 0.1), *events, result)
    return replace(begin(request).after(all_events), found={0: before, len(all_events) - 1: after}).finished()


RIGHT = References((reference(1, "a quixel butterfly"),), (), 9, 0.1)
WRONG = References((reference(1, "a monarch butterfly"),), (), 9, 0.1)
YES = Verdict(True, "yes", 0.1)
POOR, GOOD = checks(False, True, False, False, True, True), checks(*[True] * 6)


@pytest.mark.parametrize(
    ("before", "after", "events", "line"),
    [
        (POOR, GOOD, (RIGHT,), "3 of 6 → 6 of 6: quixel butterfly, colours, pattern"),
        (POOR, POOR, (RIGHT,), "3 of 6 → 3 of 6: the generator did not take the reference's look over"),
        (POOR, POOR, (WRONG,), "3 of 6 → 3 of 6: the reference shows something else"),
        (POOR, POOR, (YES,), "3 of 6 → 3 of 6: the critic missed nothing, so nothing was looked up"),
        (GOOD, GOOD, (RIGHT,), "6 of 6 → 6 of 6: the draft had everything"),
        (GOOD, POOR, (WRONG,), "6 of 6 → 3 of 6: lost: quixel butterfly, colours, pattern"),
        (POOR, (), (RIGHT,), ""),
    ],
)  # fmt: skip
def test_a_result_says_what_it_gained(
    before: tuple[Check, ...], after: tuple[Check, ...], events: tuple[Event, ...], line: str
) -> None:
    assert gained(a_story(before, after, *events)) == line


def test_the_other_seeds_are_counted() -> None:
    story = a_story(POOR, GOOD, RIGHT)
    seeds = [Counterfactual("another seed", str(i), "", PROMPT, i, (), IMAGE, 0.1) for i in range(4)]
    whole = story.after(seeds)
    looked = {len(story.events) + i: GOOD if i == 2 else POOR for i in range(4)}
    assert concluded(replace(whole, found={**story.found, **looked})) == (
        "Right in 1 of 4 without the reference, right with it."
    )
    assert concluded(whole) == ""
