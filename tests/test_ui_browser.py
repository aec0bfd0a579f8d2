"""The page in a real Chromium: what a visitor types, presses and sees."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from ragdemo.backend import BackendError
from ragdemo.recipe import read_png
from ragdemo.types import Check
from ragdemo.ui.page import build_page
from tests.browser import open_page, serve
from tests.scripted_backend import METHODS, RECORDED, ScriptedBackend, pocket_vocabulary

RUN = 60_000  # milliseconds


@pytest.fixture(scope="module")
def backend() -> ScriptedBackend:
    return ScriptedBackend()


def checks(prompt: str, image: Image.Image) -> tuple[Check, ...]:
    """A checklist that finds what it is asked for, and takes its time where the prompt says so."""
    time.sleep(0.5 if "slowly" in prompt else 0)
    return (Check("kind", True), Check("colours", False))


@pytest.fixture(scope="module")
def address(backend: ScriptedBackend) -> Iterator[str]:
    demo = build_page(backend, METHODS, pocket_vocabulary(), engine_errors=(BackendError,), checklist=checks)
    with serve(demo) as url:
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
    expect(page.locator(".pair img")).to_have_count(2, timeout=RUN)
    expect(page.locator(".wipe img").first).to_be_visible()
    expect(page.locator("#announcement")).to_have_text("Done.")
    for _ in range(2):  # a second press saves it again
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


def finished(page: Page) -> None:
    """Wait for the end of a run that draws twice."""
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".pair img")).to_have_count(2)


def test_a_rejected_reference_is_replaced_and_the_draft_is_not_drawn_again(
    page: Page, backend: ScriptedBackend
) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    draft = page.locator(".chapter.draft img").get_attribute("src")
    before = page.locator(".pair img").nth(1).get_attribute("src")
    cards = page.locator(".chapter.evidence .card")
    rejected = cards.first.locator(".caption").get_attribute("title")
    cards.first.get_by_role("button", name="Reject").press("Enter")
    expect(page.locator(".turned-down")).to_contain_text("1 turned down", timeout=RUN)
    finished(page)
    assert backend.requests[-1].rejected == (rejected,)
    assert cards.first.locator(".caption").get_attribute("title") != rejected
    assert page.locator(".chapter.draft img").get_attribute("src") == draft
    # another candidate is used in its place, on a click
    wanted = cards.nth(2).locator(".caption").get_attribute("title")
    cards.nth(2).get_by_role("button", name="Use").click()
    expect(cards.first.locator(".caption")).to_have_attribute("title", wanted, timeout=RUN)
    finished(page)
    assert page.locator(".pair img").nth(1).get_attribute("src") != before
    expect(cards.first.locator(".note")).to_have_text("✓ pinned")
    page.get_by_role("button", name="take back").click()
    expect(page.locator(".turned-down")).to_have_count(0, timeout=RUN)
    finished(page)
    assert backend.requests[-1].rejected == ()


def test_a_picture_of_ones_own_joins_the_references(
    page: Page, backend: ScriptedBackend, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 30), "purple").save(tmp_path / "my butterfly.png")
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    page.get_by_role("button", name="Your own pictures").click()
    page.locator("#own input[type=file]").set_input_files(tmp_path / "my butterfly.png")
    first = page.locator(".chapter.evidence .card").first
    expect(first.locator(".caption")).to_have_text("my butterfly", timeout=RUN)
    finished(page)
    assert [Path(path).name for path in backend.requests[-1].own_images] == ["my butterfly.png"]


def test_a_refused_request_leaves_the_story_as_it_is(
    page: Page, backend: ScriptedBackend, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    asked = len(backend.requests)
    page.get_by_role("button", name="Your own pictures").click()
    page.locator("#own input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(page.get_by_role("alert")).to_have_text(
        "Your image broken.png cannot be read; choose a PNG, JPEG or WebP file."
    )
    expect(page.locator(".pair img")).to_have_count(2)
    expect(page.locator(".chapter.evidence .card").first.get_by_role("button", name="Reject")).to_be_visible()
    assert len(backend.requests) == asked


def test_the_controls_ask_whether_it_was_the_retrieval(page: Page, backend: ScriptedBackend) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    page.get_by_role("button", name="Check it").click()
    figures = page.locator(".controls figure")
    expect(figures).to_have_count(4, timeout=RUN)
    for figure, title in zip(
        range(4), ("Another reference", "In words alone", "Seed 8", "Seed 9"), strict=True
    ):
        expect(figures.nth(figure)).to_contain_text(title)
        expect(figures.nth(figure).locator(".checklist")).to_contain_text("colours")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    assert backend.requests[-2].pinned
    assert backend.requests[-1].settings["mode"] == "rephrase"
    assert backend.running == 0


def test_check_it_keeps_the_focus_and_the_slider(page: Page) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    slider = page.get_by_label("How much of the draft is shown")
    slider.fill("80")
    button = page.get_by_role("button", name="Check it")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_be_focused()
    expect(page.locator(".controls figure")).to_have_count(4, timeout=RUN)
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    assert page.evaluate("document.querySelector('.wipe').style.getPropertyValue('--at')") == "80%"
    assert slider.input_value() == "80"


def test_a_control_that_breaks_is_a_sentence_and_keeps_the_story(
    page: Page, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("nobody foresaw this")

    ask(page, "a quixel butterfly in the snow")
    finished(page)
    monkeypatch.setattr(backend, "draw", broken)
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_role("alert")).to_contain_text("The page is fine", timeout=RUN)
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator(".chapter.evidence").get_by_role("button", name="Reject")).to_have_count(4)
    expect(page.locator(".controls figure")).to_have_count(2)  # those that were drawn before


def test_a_press_while_it_runs_changes_nothing(page: Page, backend: ScriptedBackend) -> None:
    ask(page, "draw forever")
    expect(page.locator(".chapter.draft .progress")).to_contain_text(" of ", timeout=RUN)
    address = page.url
    ask(page, "a robot in the city")
    page.wait_for_timeout(1000)
    expect(page.locator("#announcement")).to_contain_text("Drawing the draft")
    assert page.url == address
    page.get_by_role("button", name="Stop").click()
    wait_until_free(backend)


def test_realrag_tells_what_it_draws_anyway_and_three_rankings(page: Page, backend: ScriptedBackend) -> None:
    page.locator("#method label", has_text="RealRAG").click()
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_label("Rounds at most").first).to_be_hidden()
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    expect(page.locator(".chapter.missing")).to_contain_text("What it draws anyway")
    expect(page.locator(".chapter.missing .reflection img")).to_be_visible()
    expect(page.locator(".ranks image")).to_have_count(12)
    expect(page.locator(".ranks line.moved")).to_have_count(6)
    page.locator(".chapter.evidence .card").first.get_by_role("button", name="Reject").click()
    expect(page.locator(".turned-down")).to_contain_text("1 turned down", timeout=RUN)
    finished(page)
    expect(page.locator(".ranks image")).to_have_count(12)
    assert backend.requests[-1].method == "realrag"


def test_the_slider_moves_by_mouse_and_by_keys(page: Page) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    at = "() => document.querySelector('.wipe').style.getPropertyValue('--at')"
    box = page.locator(".wipe").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    assert 75 <= int(page.evaluate(at).rstrip("%")) <= 85
    page.get_by_label("How much of the draft is shown").focus()
    page.keyboard.press("Home")
    assert page.evaluate(at) == "0%"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(at) == "1%"
    page.get_by_role("button", name="Enlarge").click()
    expect(page.locator(".wipe:fullscreen")).to_be_visible()
    page.get_by_role("button", name="Enlarge").click()
    expect(page.locator(".wipe:fullscreen")).to_have_count(0)


def test_the_link_is_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    page.get_by_role("button", name="Copy link").click()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(page.url.split("?")[0])
    assert link.endswith("?prompt=a+quixel+butterfly+in+the+snow&method=imagerag&seed=7")


def test_checks_stand_under_the_pictures(page: Page) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    expect(page.locator(".chapter.draft .checklist li")).to_have_count(2)
    expect(page.locator(".pair .checklist")).to_have_count(2)


def test_run_can_be_pressed_again_while_the_pictures_are_checked(
    page: Page, backend: ScriptedBackend
) -> None:
    asked = len(backend.requests)
    ask(page, "a quixel butterfly slowly in the snow")
    # in the browser, a moment after it says so; the pictures take a second
    page.evaluate("""() => new Promise((resolve) => {
      const said = () => document.querySelector("#announcement .announce")?.textContent ?? "";
      const watching = new MutationObserver(() => {
        if (!said().startsWith("Done.")) return;
        watching.disconnect();
        setTimeout(() => { document.querySelector("#run").click(); resolve(); }, 100);
      });
      watching.observe(document.body, {subtree: true, childList: true, characterData: true});
    })""")
    finished(page)
    expect(page.locator(".pair .checklist")).to_have_count(2)
    assert len(backend.requests) == asked + 2


def test_the_draft_of_a_stopped_run_is_checked_too(page: Page) -> None:
    ask(page, "a quixel butterfly in an endless snow")
    expect(page.locator(".chapter.after .progress")).to_contain_text(" of ", timeout=RUN)
    expect(page.locator(".chapter.draft .checklist li")).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".chapter.draft .checklist li")).to_have_count(2)
    expect(page.locator("#announcement")).to_contain_text("Stopped")


def test_an_example_answers_at_once_from_its_recording(page: Page, backend: ScriptedBackend) -> None:
    asked = len(backend.requests)
    page.locator("#chips").get_by_role("button", name=RECORDED).click()
    finished(page)
    expect(page.locator(".chapter.draft")).to_contain_text("recorded")
    assert len(backend.requests) == asked
    page.locator(".chapter.evidence .card").nth(1).get_by_role("button", name="Use").click()
    expect(page.locator(".chapter.evidence .note").first).to_have_text("✓ pinned", timeout=RUN)
    finished(page)
    assert backend.requests[-1].pinned


def test_a_saved_picture_restores_everything_and_draws_again(
    page: Page, address: str, backend: ScriptedBackend, tmp_path: Path
) -> None:
    page.locator("#seed input").fill("123")
    page.get_by_role("button", name="Settings").click()
    page.wait_for_timeout(500)  # Gradio fills what was folded away a moment after it shows it
    page.get_by_label("Rounds at most").first.fill("3")
    ask(page, "a quixel butterfly in the desert")
    finished(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download with recipe").click()
    saved.value.save_as(tmp_path / "saved.png")
    picture = page.locator(".pair img").nth(1).get_attribute("src")
    wanted = backend.requests[-1]
    page.goto(address)
    page.get_by_role("button", name="Open a saved picture").click()
    page.locator("#saved input[type=file]").set_input_files(tmp_path / "saved.png")
    finished(page)
    expect(page.locator("#prompt textarea")).to_have_value("a quixel butterfly in the desert")
    expect(page.locator("#seed input")).to_have_value("123")
    assert backend.requests[-1] == wanted
    assert wanted.settings == {"max_rounds": 3}
    assert page.locator(".pair img").nth(1).get_attribute("src") == picture


def test_a_picture_without_a_recipe_is_a_sentence(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "plain.png")
    page.get_by_role("button", name="Open a saved picture").click()
    page.locator("#saved input[type=file]").set_input_files(tmp_path / "plain.png")
    expect(page.get_by_role("alert")).to_have_text(
        "plain.png carries no recipe; choose a PNG that this demo has saved."
    )
    page.wait_for_timeout(1000)
    expect(page.get_by_role("alert")).to_contain_text("carries no recipe")  # and nothing comes after it
    expect(page.locator(".chapter h2")).to_have_count(4)
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)


def test_a_link_restores_prompt_method_and_seed(page: Page, address: str) -> None:
    page.goto(f"{address}?prompt=a%20dunis%20fish%20%3Cb%3E&method=imagerag&seed=42")
    expect(page.locator("#prompt textarea")).to_have_value("a dunis fish <b>")
    expect(page.locator("#seed input")).to_have_value("42")
    page.goto(f"{address}?method=nonsense&seed=-1")
    page.locator("#run").wait_for()
    expect(page.locator("#method input:checked")).to_have_value("imagerag")


def test_a_reload_while_it_runs_frees_the_engine_and_keeps_the_prompt(
    page: Page, backend: ScriptedBackend
) -> None:
    ask(page, "draw forever")
    expect(page.locator(".chapter.draft .progress")).to_contain_text(" of ", timeout=RUN)
    page.reload()
    expect(page.locator("#prompt textarea")).to_have_value("draw forever", timeout=RUN)
    wait_until_free(backend)
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)


def test_two_visitors_never_see_each_others_pictures(page: Page, address: str) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    own = page.locator(".pair img").nth(1).get_attribute("src")
    other = page.context.browser.new_context().new_page()
    other.goto(address)
    other.locator("#run").wait_for(timeout=RUN)
    assert other.locator(".chapter img").count() == 0
    ask(other, "a quixel butterfly in the desert")
    finished(other)
    assert other.locator(".pair img").nth(1).get_attribute("src") != own
    assert page.locator(".pair img").nth(1).get_attribute("src") == own


def test_an_approved_draft_needs_no_evidence(page: Page) -> None:
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".chapter.missing")).to_contain_text("Nothing: the critic finds everything")
    expect(page.locator(".chapter.evidence .card")).to_have_count(0)
    expect(page.locator(".comparison")).to_have_count(0)
    expect(page.locator(".keep button").first).to_be_visible()


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


def test_a_seed_out_of_range_is_a_sentence(page: Page) -> None:
    page.locator("#seed input").fill("-1")
    ask(page, "a robot in the city")
    expect(page.get_by_role("alert")).to_contain_text("The seed -1 is out of range")


@pytest.mark.parametrize(("prompt", "sentence"), [("crash", "The page is fine"), ("memory", "out of memory")])
def test_an_engine_error_is_a_sentence(page: Page, prompt: str, sentence: str) -> None:
    ask(page, prompt)
    expect(page.get_by_role("alert")).to_contain_text(sentence, timeout=RUN)
    expect(page.locator("#stop")).to_be_hidden()


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
    expect(other.locator("#stop")).to_be_visible()
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
        expect(page.locator(".pair img")).to_have_count(2, timeout=RUN)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(address: str, dark: bool) -> None:
    with open_page(address, dark=dark) as page:
        for name in ("Settings", "Your own pictures", "Open a saved picture"):
            page.get_by_role("button", name=name).click()
        ask(page, "a quixel butterfly in the snow")
        finished(page)
        page.get_by_role("button", name="Check it").click()
        expect(page.locator(".controls figure")).to_have_count(4, timeout=RUN)
        expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
        found = serious(page)
        page.get_by_role("tab", name="Library").click()
        expect(page.locator("#library-cards .card")).to_have_count(24)
        assert found + serious(page) == []


def serious(page: Page) -> list[str]:
    """What axe calls serious or critical, rule and place."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['html'][:120]}"
        for rule in violations
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def test_the_keyboard_alone_is_enough(page: Page, backend: ScriptedBackend) -> None:
    page.locator("#prompt textarea").fill("a quixel butterfly in the snow")
    page.locator("#prompt textarea").focus()
    press_until(page, "Run")
    page.keyboard.press("Enter")
    finished(page)
    press_until(page, "Reject: a quixel butterfly")
    page.keyboard.press("Space")
    expect(page.locator(".turned-down")).to_contain_text("1 turned down", timeout=RUN)
    finished(page)
    page.locator("#run").focus()
    press_until(page, "Check it")
    page.keyboard.press("Enter")
    expect(page.locator(".controls figure")).to_have_count(4, timeout=RUN)


def press_until(page: Page, name: str) -> None:
    """Press Tab until a button of that name has the focus."""
    focused = "() => document.activeElement.ariaLabel || document.activeElement.innerText.split('\\n')[0]"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(focused).strip() == name:
            return
    raise AssertionError(f"60 presses of Tab do not reach {name!r}")


def test_a_page_at_rest_draws_no_frames(address: str) -> None:
    count = (
        "window.drawn = 0; const f = requestAnimationFrame; "
        "window.requestAnimationFrame = (callback) => { window.drawn++; return f(callback); };"
    )
    with open_page(address) as page:
        page.context.add_init_script(count)  # below the page's own script, which asks this one
        page.reload()
        page.locator("#run").wait_for()
        page.wait_for_timeout(9_000)  # what opens the page moves for some seconds
        before = page.evaluate("window.drawn")
        page.wait_for_timeout(2_000)
        assert page.evaluate("window.drawn") - before < 20, "left alone, Gradio asks for 120"


def test_nothing_but_the_page_is_changed_on_its_way(address: str) -> None:
    with urlopen(address) as page, urlopen(f"{address}config") as config:
        body = page.read()
        assert int(page.headers["content-length"]) == len(body)
        assert body.count(b"window.requestAnimationFrame =") == 1
        assert body.index(b"window.requestAnimationFrame =") < body.index(b'<script type="module"')
        assert json.load(config)["title"].startswith("Seen, missed, found")
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{address}nothing")
