"""Runs on the page in a real Chromium: from a press to the end, stopped, waiting in line, broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ragdemo.recipe import read_png
from scripts.browser import visit
from tests.scripted_page import RECORDED, RUN, ScriptedPage, ask, drawing, finished


def test_a_whole_run_from_prompt_to_downloaded_recipe(
    page: Page, scripted: ScriptedPage, tmp_path: Path
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.locator("#prompt textarea").fill("a quixel butterfly in the snow")
    page.get_by_role("button", name="Run").click()
    finished(page)
    expect(page.locator(".chapter.draft img")).to_be_visible()
    expect(page.locator(".chapter.missing mark")).to_have_text("quixel butterfly")
    expect(page.locator(".chapter.reference img")).to_be_visible()
    expect(page.locator(".chapter.result img")).to_be_visible()
    cards = page.locator(".candidates .card:not(.add)")
    expect(cards).to_have_count(4)
    expect(cards.first).to_contain_text("quixel butterfly")
    expect(page.locator(".wipe img").first).to_be_visible()
    for _ in range(2):  # a second press saves it again
        with page.expect_download() as saved:
            page.get_by_role("button", name="Download with recipe").click()
    saved.value.save_as(tmp_path / "result.png")
    assert read_png(tmp_path / "result.png").request == scripted.method.requests[-1]
    assert scripted.method.requests[-1].prompt == "a quixel butterfly in the snow"
    assert errors == []


def test_the_first_example_stands_there_and_is_said_to_be_recorded(
    page: Page, scripted: ScriptedPage
) -> None:
    expect(page.locator("#prompt textarea")).to_have_value(RECORDED)
    expect(page.locator("#seed input")).to_have_value("5")
    expect(page.locator("#row .chapter img")).to_have_count(3)
    expect(page.locator(".chapter.draft .aside")).to_have_text("recorded")
    expect(page.locator(".chapter.result .aside")).to_have_text("recorded")
    expect(page.locator("#announcement")).to_contain_text("Recorded")
    expect(page.locator(".chapter.draft .checklist")).to_be_visible()
    assert scripted.method.requests == []
    page.get_by_role("button", name="Run").click()
    finished(page)
    assert scripted.method.requests[-1].seed == 5
    expect(page.locator(".chapter.draft .aside")).to_have_text("1.2 s")


def test_an_example_answers_at_once_from_its_recording(page: Page, scripted: ScriptedPage) -> None:
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    asked = len(scripted.method.requests)
    page.locator("#chips").get_by_role("button", name=RECORDED).click()
    expect(page.locator("#announcement")).to_contain_text("Recorded")
    assert len(scripted.method.requests) == asked
    page.locator(".candidates .card").nth(1).get_by_role("button", name="Use").click()
    expect(page.locator(".candidates .note").first).to_have_text("✓ pinned", timeout=RUN)
    finished(page)
    assert scripted.method.requests[-1].choices.pinned


def test_markup_in_prompt_and_replies_is_shown_as_text(page: Page) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    prompt = "a fish <script>alert(1)</script><img src=x onerror=alert(2)> {{7*7}} ${7*7} 🦋 שלום"
    ask(page, prompt)
    finished(page)
    expect(page.locator(".chapter.missing .prompt-line")).to_have_text(prompt)
    expect(page.locator(".chapter.missing")).to_contain_text("Missing: quixel butterfly <b>{{1}}</b>")
    page.locator("#seed input").fill("-1")
    ask(page, "${alert(3)}")
    expect(page.get_by_role("alert")).to_contain_text("The seed -1 is out of range")
    assert dialogs == []


def test_realrag_shows_what_is_drawn_anyway_and_three_rankings(page: Page) -> None:
    page.locator("#method label", has_text="RealRAG").click()
    expect(page.locator(".sentence")).to_contain_text("would not draw by itself")
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_label("Rounds at most").first).to_be_hidden()
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    expect(page.locator(".chapter.anyway img")).to_be_visible()
    expect(page.locator(".ranks image")).to_have_count(12)
    assert page.locator(".ranks line.same").count() > 0
    page.locator(".candidates .card").first.get_by_role("button", name="Reject").click()
    expect(page.locator(".turned-down")).to_contain_text("1 turned down", timeout=RUN)
    finished(page)
    expect(page.locator(".ranks image")).to_have_count(12)


def test_an_approved_draft_needs_no_references(page: Page) -> None:
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".chapter.missing")).to_contain_text("Nothing: the critic finds everything")
    expect(page.locator(".candidates .card:not(.add)")).to_have_count(0)
    expect(page.locator(".compared")).to_have_count(0)
    expect(page.locator(".keep button").first).to_be_visible()


def test_checks_stand_under_the_pictures(page: Page) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    expect(page.locator(".chapter.draft .checklist li")).to_have_count(2)
    expect(page.locator(".chapter.result .checklist li")).to_have_count(2)
    expect(page.locator(".pair .checklist")).to_have_count(2)


def test_run_can_be_pressed_again_while_the_pictures_are_checked(page: Page, scripted: ScriptedPage) -> None:
    ask(page, "a quixel butterfly slowly in the snow")
    # in the browser, as soon as it says so; the pictures take a second
    page.evaluate("""() => new Promise((resolve) => {
      const watching = new MutationObserver(() => {
        if (!document.querySelector("#announcement").textContent.startsWith("Done.")) return;
        watching.disconnect();
        document.querySelector("#run").click();
        resolve();
      });
      watching.observe(document.body, {subtree: true, childList: true, characterData: true});
    })""")
    finished(page)
    expect(page.locator(".pair .checklist")).to_have_count(2)
    assert len(scripted.method.requests) == 2


def test_run_can_be_pressed_again_before_the_last_run_is_put_away(page: Page, scripted: ScriptedPage) -> None:
    ask(page, "a quixel butterfly in the snow")
    page.evaluate("""() => new Promise((resolve) => {
      const watching = new MutationObserver(() => {
        if (!document.querySelector(".pair img[alt*=snow] ~ .checklist")) return;
        watching.disconnect();
        document.querySelector("#run").click();
        resolve();
      });
      watching.observe(document.querySelector("#below"), {subtree: true, childList: true});
    })""")
    page.wait_for_timeout(300)
    finished(page)
    assert len(scripted.method.requests) == 2


def test_the_draft_of_a_stopped_run_is_checked_too(page: Page) -> None:
    ask(page, "a quixel butterfly in an endless snow")
    expect(page.locator(".chapter.result .progress")).to_contain_text(" of ", timeout=RUN)
    expect(page.locator(".chapter.draft .checklist li")).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".chapter.draft .checklist li")).to_have_count(2)
    expect(page.locator("#announcement")).to_contain_text("Stopped")


def test_a_press_while_it_runs_changes_nothing(page: Page, scripted: ScriptedPage) -> None:
    ask(page, "draw a fish forever")
    drawing(page)
    address = page.url
    ask(page, "a robot in the city")
    page.locator("#chips button").first.click()  # an example is typed, and not shown
    page.wait_for_timeout(1000)
    expect(page.locator("#announcement")).to_contain_text("Drawing the draft")
    assert page.url == address
    page.get_by_role("button", name="Stop").click()
    scripted.wait_until_free()
    assert len(scripted.method.requests) == 1


def test_stop_frees_the_models_for_the_next_run(page: Page, scripted: ScriptedPage) -> None:
    ask(page, "draw a fish forever")
    drawing(page)
    assert scripted.method.running == 1
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#announcement")).to_contain_text("Stopped", timeout=RUN)
    scripted.wait_until_free()
    expect(page.locator(".chapter.draft")).to_contain_text("Stopped before this")
    expect(page.locator("#stop")).to_be_hidden()
    page.wait_for_timeout(1000)
    expect(page.locator("#announcement")).to_contain_text("Stopped", timeout=RUN)
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)


@pytest.mark.parametrize("pause", [0, 3, 10])
def test_stop_right_after_run_stops_it(page: Page, scripted: ScriptedPage, pause: int) -> None:
    page.locator("#prompt textarea").fill("draw a fish forever")
    page.wait_for_timeout(300)
    page.evaluate(
        """(pause) => { document.querySelector("#run").click();
        setTimeout(() => document.querySelector("#stop").click(), pause); }""",
        pause,
    )
    expect(page.locator("#announcement")).to_have_text("Stopped.", timeout=RUN)
    expect(page.locator("#stop")).to_be_hidden()
    scripted.wait_until_free()


@pytest.mark.parametrize("pause", [0, 30, 100, 300])
def test_a_run_right_after_stop_runs(page: Page, scripted: ScriptedPage, pause: int) -> None:
    ask(page, "draw a fish forever")
    page.wait_for_timeout(300)
    page.locator("#prompt textarea").fill("a robot in the city")
    page.evaluate(
        """(pause) => { document.querySelector("#stop").click();
        setTimeout(() => document.querySelector("#run").click(), pause); }""",
        pause,
    )
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    assert scripted.method.requests[-1].prompt == "a robot in the city"


def test_a_waiting_visitor_sees_the_line_and_may_leave_it(
    page: Page, browser: Browser, scripted: ScriptedPage
) -> None:
    ask(page, "draw a fish forever")
    drawing(page)
    with visit(browser, scripted.address) as other:
        ask(other, "a robot in the city")
        expect(other.locator("#announcement")).to_have_text("In line for the models: 1 before you.")
        expect(other.locator("#stop")).to_be_visible()
        other.locator("#run").click()  # a second press takes no second place
        other.get_by_role("button", name="Stop").click()
        expect(other.locator("#announcement")).to_contain_text("Stopped", timeout=RUN)
        ask(other, "a robot in the snow")
        expect(other.locator("#announcement")).to_contain_text("In line for the models: 1")
        page.get_by_role("button", name="Stop").click()
        expect(other.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    assert [request.prompt for request in scripted.method.requests] == [
        "draw a fish forever",
        "a robot in the snow",
    ]


def test_no_reference_can_be_chosen_in_line(page: Page, browser: Browser, scripted: ScriptedPage) -> None:
    with visit(browser, scripted.address) as other:
        buttons = other.locator("#story [data-act]")
        expect(buttons).to_have_count(9)
        ask(page, "draw a fish forever")
        drawing(page)
        ask(other, "a robot in the city")
        expect(other.locator("#announcement")).to_contain_text("In line")
        for button in buttons.all():
            expect(button).to_be_disabled()
            expect(button).to_have_css("opacity", "0.5")
        other.get_by_role("button", name="Stop").click()
        expect(other.locator("#announcement")).to_contain_text("Stopped", timeout=RUN)
        for button in buttons.all():
            expect(button).to_be_enabled()
        page.get_by_role("button", name="Stop").click()
    scripted.wait_until_free()


def test_closing_the_page_frees_the_models(browser: Browser, scripted: ScriptedPage) -> None:
    with visit(browser, scripted.address) as page:
        ask(page, "draw a fish forever")
        drawing(page)
    scripted.wait_until_free()


def test_a_reload_while_it_runs_begins_the_run_anew(page: Page, scripted: ScriptedPage) -> None:
    ask(page, "draw a fish forever")
    drawing(page)
    asked = len(scripted.method.requests)
    page.reload()
    expect(page.locator("#prompt textarea")).to_have_value("draw a fish forever", timeout=RUN)
    drawing(page)
    assert scripted.method.requests[asked:] == scripted.method.requests[asked - 1 : asked]
    page.locator("#stop").click()
    expect(page.locator("#announcement")).to_have_text("Stopped.", timeout=RUN)
    scripted.wait_until_free()


def test_two_visitors_never_see_each_others_pictures(
    page: Page, browser: Browser, scripted: ScriptedPage
) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    own = page.locator(".chapter.result img").get_attribute("src")
    with visit(browser, scripted.address) as other:
        assert other.locator(".chapter.result img").get_attribute("src") != own
        ask(other, "a quixel butterfly in the desert")
        finished(other)
        assert other.locator(".chapter.result img").get_attribute("src") != own
    assert page.locator(".chapter.result img").get_attribute("src") == own


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [("  ", "The prompt is empty"), ("x" * 5000, "shorten it to 500"), ("a\x07b", "control character")],
)
def test_a_bad_prompt_is_one_sentence_and_the_page_lives_on(page: Page, prompt: str, sentence: str) -> None:
    ask(page, prompt)
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(page.locator("#stop")).to_be_hidden()
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)


@pytest.mark.parametrize(
    ("prompt", "sentence"), [("a fish crash", "The page is fine"), ("a fish from memory", "out of memory")]
)
def test_a_failure_before_the_first_word_is_a_sentence(page: Page, prompt: str, sentence: str) -> None:
    ask(page, prompt)
    expect(page.get_by_role("alert")).to_contain_text(sentence, timeout=RUN)
    expect(page.locator("#stop")).to_be_hidden()
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
