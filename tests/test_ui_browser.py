"""The page in a real Chromium: what a visitor types, presses and sees."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from ragdemo.backend import BackendError
from ragdemo.recipe import read_png
from ragdemo.ui.page import build_page
from tests.browser import open_page, serve
from tests.scripted_backend import METHODS, ScriptedBackend, pocket_vocabulary

RUN = 60_000  # milliseconds


@pytest.fixture(scope="module")
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture(scope="module")
def address(backend: ScriptedBackend) -> Iterator[str]:
    with serve(build_page(backend, METHODS, pocket_vocabulary(), engine_errors=(BackendError,))) as url:
        yield url


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    with open_page(address) as opened:
        yield opened


def ask(page: Page, prompt: str) -> None:
    """Type a prompt and run it from the keyboard."""
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#prompt textarea").press("Control+Enter")


def wait_until_free(backend: ScriptedBackend) -> None:
    """Fail where a run still holds the engine after half a minute."""
    deadline = time.monotonic() + 30
    while backend.running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert backend.running == 0


def test_a_whole_run_from_prompt_to_downloaded_recipe(
    page: Page, backend: ScriptedBackend, tmp_path: Path
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.locator("#prompt textarea").fill("a quixel butterfly in the snow")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".chapter.draft img")).to_be_visible(timeout=RUN)
    expect(page.locator(".chapter.missing mark")).to_have_text("quixel butterfly")
    cards = page.locator(".chapter.evidence .card")
    expect(cards).to_have_count(4)
    expect(cards.first).to_contain_text("a quixel butterfly")
    expect(cards.first).to_contain_text("0.41")
    expect(page.locator("#pair img")).to_have_count(2, timeout=RUN)
    expect(page.locator("#slider img").first).to_be_visible()
    expect(page.locator("#announcement")).to_have_text("Done.")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download with recipe").click()
    saved.value.save_as(tmp_path / "result.png")
    assert read_png(tmp_path / "result.png").request == backend.requests[-1]
    assert backend.requests[-1].prompt == "a quixel butterfly in the snow"
    assert errors == []


def test_markup_in_prompt_and_replies_is_shown_as_text(page: Page) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    prompt = "<script>alert(1)</script><img src=x onerror=alert(2)> {{7*7}} ${7*7} 🦋 שלום"
    ask(page, prompt)
    expect(page.locator(".chapter.missing .prompt-line")).to_have_text(prompt, timeout=RUN)
    expect(page.locator(".chapter.missing")).to_contain_text("Missing: quixel butterfly <b>{{1}}</b>")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    assert dialogs == []


def test_an_approved_draft_needs_no_evidence(page: Page) -> None:
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".chapter.missing")).to_contain_text("Nothing: the critic finds everything")
    expect(page.locator(".chapter.evidence .card")).to_have_count(0)
    expect(page.locator("#comparison")).to_be_hidden()
    expect(page.locator("#download")).to_be_visible()


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [("  ", "The prompt is empty"), ("x" * 5000, "shorten it to 500"), ("a\x07b", "control character")],
)
def test_a_bad_prompt_is_one_sentence_and_the_page_lives_on(page: Page, prompt: str, sentence: str) -> None:
    ask(page, prompt)
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(page.locator("#stop")).to_be_disabled()
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)


def test_a_seed_out_of_range_is_a_sentence(page: Page) -> None:
    page.locator("#seed input").fill("-1")
    ask(page, "a robot in the city")
    expect(page.get_by_role("alert")).to_contain_text("The seed -1 is out of range")


@pytest.mark.parametrize(("prompt", "sentence"), [("crash", "The page is fine"), ("memory", "out of memory")])
def test_an_engine_error_is_a_sentence(page: Page, prompt: str, sentence: str) -> None:
    ask(page, prompt)
    expect(page.get_by_role("alert")).to_contain_text(sentence, timeout=RUN)
    expect(page.locator("#stop")).to_be_disabled()


def test_stop_frees_the_engine_for_the_next_visitor(
    page: Page, address: str, backend: ScriptedBackend
) -> None:
    ask(page, "draw forever")
    expect(page.locator(".chapter.draft .progress")).to_contain_text(" of ", timeout=RUN)
    assert backend.running == 1
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#announcement")).to_contain_text("Stopped", timeout=RUN)
    wait_until_free(backend)
    expect(page.locator(".chapter.draft")).to_contain_text("Stopped before this")
    page.wait_for_timeout(1000)
    expect(page.locator("#announcement")).to_contain_text("Stopped", timeout=RUN)
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)


def test_a_waiting_visitor_sees_the_line_and_may_leave_it(
    page: Page, address: str, backend: ScriptedBackend
) -> None:
    ask(page, "draw forever")
    expect(page.locator(".chapter.draft .progress")).to_contain_text(" of ", timeout=RUN)
    other = page.context.browser.new_context().new_page()
    other.goto(address)
    ask(other, "a robot in the city")
    expect(other.locator("#announcement")).to_contain_text("In line for the models")
    expect(other.locator("#announcement")).to_contain_text("queue: 1/1")
    other.get_by_role("button", name="Stop").click()
    expect(other.locator("#announcement")).to_contain_text("Stopped", timeout=RUN)
    page.get_by_role("button", name="Stop").click()
    wait_until_free(backend)
    assert backend.requests[-1].prompt == "draw forever"
    assert other.locator(".chapter.draft img").count() == 0


def test_closing_the_page_frees_the_engine(address: str, backend: ScriptedBackend) -> None:
    with open_page(address) as page:
        ask(page, "draw forever")
        expect(page.locator(".chapter.draft .progress")).to_contain_text(" of ", timeout=RUN)
    wait_until_free(backend)


def test_suggestions_fill_the_prompt_and_strange_words_are_marked(page: Page) -> None:
    chip = page.locator("#chips button").first
    text = chip.inner_text()
    chip.click()
    expect(page.locator("#prompt textarea")).to_have_value(text)
    expect(page.locator("#hint mark")).to_have_count(0)
    page.locator("#prompt textarea").fill("a zebra in the snow")
    expect(page.locator("#hint mark")).to_have_text("zebra")


def test_the_library_is_browsed_and_searched(page: Page) -> None:
    page.get_by_role("tab", name="Library").click()
    cards = page.locator("#library-cards .card")
    expect(cards).to_have_count(24)
    first = cards.first.inner_text()
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#library-summary")).to_contain_text("page 2 of")
    assert cards.first.inner_text() != first
    page.locator("#library-kind input").click()
    page.get_by_role("option", name="teapot").click()
    expect(page.locator("#library-summary")).to_contain_text("20 pictures · teapot")
    search = page.locator("#library-query").get_by_role("textbox")
    search.fill("a quixel butterfly")
    search.press("Enter")
    expect(page.locator("#library-summary")).to_contain_text("nearest to a quixel butterfly")
    expect(cards).to_have_count(12)
    expect(cards.first).to_contain_text("0.41")
    search.fill("damaged")
    search.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("index is damaged")


def test_a_picture_finds_its_likes(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "mine.png")
    page.get_by_role("tab", name="Library").click()
    page.get_by_role("button", name="Search by a picture").click()
    page.locator("#library-by-picture input[type=file]").set_input_files(tmp_path / "mine.png")
    expect(page.locator("#library-summary")).to_contain_text("nearest to your picture")
    expect(page.locator("#library-cards .card")).to_have_count(12)


def test_the_pill_follows_the_models(page: Page, backend: ScriptedBackend) -> None:
    expect(page.locator("#pill")).to_contain_text("ready")
    backend.state = "loading"
    page.reload()
    expect(page.locator("#pill")).to_contain_text("loading")
    backend.state = "ready"
    expect(page.locator("#pill")).to_contain_text("ready")


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_the_page_fits_its_window(address: str, width: int) -> None:
    with open_page(address, width, 844) as page:
        ask(page, "a quixel butterfly in the snow")
        expect(page.locator("#pair img")).to_have_count(2, timeout=RUN)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
