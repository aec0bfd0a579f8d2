"""The page around its runs, in a real Chromium: layout, suggestions, links, library, access by everybody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ragdemo.library.catalogue import Catalogue
from ragdemo.run.base import Status
from ragdemo.ui.page import build_page
from scripts.browser import serve, visit
from tests.library_world import write_small_library
from tests.scripted_page import RECORDED, RUN, ScriptedPage, ask, finished


def bottom(page: Page, place: str) -> float:
    """Where an element ends, in pixels from the top of the window."""
    box = page.locator(place).first.bounding_box()
    assert box is not None
    return box["y"] + box["height"]


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_the_page_fits_its_window(browser: Browser, scripted: ScriptedPage, width: int) -> None:
    with visit(browser, scripted.address, width, 844) as page:
        ask(page, "a quixel butterfly in the snow")
        finished(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_whole_change_is_above_the_fold_in_one_row(page: Page) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    names = ("draft", "missing", "reference", "result")
    boxes = [page.locator(f"#row .chapter.{name}").bounding_box() for name in names]
    assert all(box is not None and box["y"] + box["height"] < 900 for box in boxes)
    assert len({round(box["y"]) for box in boxes if box}) == 1
    assert sorted(boxes, key=lambda box: box["x"] if box else 0) == boxes
    assert bottom(page, "#run") < 900
    expect(page.locator("#row img")).to_have_count(3)
    for picture in page.locator("#row img").all():  # 128 pixels are at most doubled
        box = picture.bounding_box()
        assert box is not None
        assert 200 < box["width"] <= 256


def test_on_a_phone_the_result_follows_the_draft_within_one_screen(
    browser: Browser, scripted: ScriptedPage
) -> None:
    with visit(browser, scripted.address, 390, 844) as page:
        ask(page, "a quixel butterfly in the snow")
        finished(page)
        top = bottom(page, ".chapter.draft h2")
        assert bottom(page, ".chapter.result .shot") - top < 800
        assert bottom(page, "#run") + page.evaluate("scrollY") < 844


def test_the_slider_moves_by_mouse_and_by_keys(page: Page) -> None:
    at = "() => document.querySelector('.wipe').style.getPropertyValue('--at')"
    page.locator(".wipe").scroll_into_view_if_needed()
    box = page.locator(".wipe").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    assert 75 <= int(page.evaluate(at).rstrip("%")) <= 85
    page.get_by_label("How much of the draft is shown").focus()
    page.keyboard.press("Home")
    assert page.evaluate(at) == "0%"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(at) == "1%"
    expect(page.locator(".wipe .seen")).to_be_hidden()
    page.get_by_role("button", name="Enlarge").click()
    expect(page.locator(".wipe:fullscreen")).to_be_visible()
    expect(page.locator(".wipe .seen img")).to_be_visible()  # what it looked at
    expect(page.get_by_label("How much of the draft is shown")).to_be_focused()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(at) == "2%"
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('.wipe > span')).fontSize)") > 20
    page.get_by_role("button", name="Enlarge").click()
    expect(page.locator(".wipe:fullscreen")).to_have_count(0)


def test_the_link_is_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".keep output")).to_have_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    assert link.endswith("?prompt=a+quixel+butterfly+in+the+snow&method=scripted&seed=5")


def test_without_a_clipboard_the_link_is_there_to_copy_by_hand(page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    expect(page.locator(".chapter.draft .checklist")).to_be_visible()  # the last word of the opening page
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy link").click()
    field = page.get_by_label("Link to copy")
    expect(field).to_be_focused()
    assert "?prompt=a+quixel+butterfly+in+the+meadow" in field.input_value()
    assert errors == []


def test_a_link_restores_prompt_method_and_seed(page: Page, scripted: ScriptedPage) -> None:
    page.goto(f"{scripted.address}?prompt=a%20dunis%20fish%20%3Cb%3E&method=realrag&seed=42")
    expect(page.locator("#prompt textarea")).to_have_value("a dunis fish <b>")
    expect(page.locator("#seed input")).to_have_value("42")
    expect(page.locator("#method input:checked")).to_have_value("realrag")
    expect(page.locator(".chapter.result img")).to_have_count(1, timeout=RUN)  # it runs by itself
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    page.goto(f"{scripted.address}?prompt={RECORDED}&seed=5")
    expect(page.locator(".chapter.draft .aside")).to_have_text("recorded")
    page.goto(f"{scripted.address}?prompt={RECORDED}&seed=6")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".chapter.draft .aside")).not_to_have_text("recorded")


def test_suggestions_fill_the_prompt_and_strange_words_are_marked(page: Page) -> None:
    chip = page.locator("#chips button").nth(1)
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
    expect(page.locator("#library-summary")).to_contain_text("pictures · teapot")
    search = page.locator("#library-query").get_by_role("textbox")
    search.fill("a quixel butterfly")
    search.press("Enter")
    expect(page.locator("#library-summary")).to_contain_text("nearest to a quixel butterfly, teapot")
    expect(cards).to_have_count(12)
    expect(cards.first).to_contain_text("teapot")  # the filter holds for what words find
    page.get_by_role("button", name="Clear the search").press("Enter")
    expect(search).to_have_value("")
    expect(page.locator("#library-summary")).to_contain_text("pictures · teapot")
    page.locator("#library-kind input").click()
    page.get_by_role("option", name="all kinds").click()
    expect(page.locator("#library-summary")).to_contain_text("pictures · all kinds")
    search.fill("damaged")
    search.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("index is damaged")
    search.fill("a\x07b")
    search.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("control character")


def test_a_library_without_kinds_offers_none(
    browser: Browser, scripted: ScriptedPage, tmp_path: Path
) -> None:
    write_small_library(tmp_path / "plain", 8)
    services = replace(scripted.services, catalogue=Catalogue(tmp_path))
    with serve(build_page(services)) as address, visit(browser, address) as page:
        page.get_by_role("tab", name="Library").click()
        expect(page.locator("#library-kind")).to_be_visible()
        page.locator("#library-name input").click()
        page.get_by_role("option", name="plain").click()
        expect(page.locator("#library-cards .card")).to_have_count(8)
        expect(page.locator("#library-kind")).to_be_hidden()


def test_a_picture_finds_its_likes(page: Page, scripted: ScriptedPage, tmp_path: Path) -> None:
    library = scripted.runner.catalogue.open("pocket")
    wanted = next(row for row in library.rows if "quixel butterfly" in row.caption)
    library.image(wanted.id).save(tmp_path / "mine.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.get_by_role("tab", name="Library").click()
    page.get_by_role("button", name="Search by a picture").click()
    upload = page.locator("#library-by-picture input[type=file]")
    upload.set_input_files(tmp_path / "mine.png")
    expect(page.locator("#library-summary")).to_contain_text("nearest to your picture")
    expect(page.locator("#library-summary img")).to_be_visible()
    expect(page.locator("#library-cards .card .caption").first).to_have_attribute("title", wanted.id)
    upload.set_input_files(tmp_path / "broken.png")
    expect(page.get_by_role("alert")).to_contain_text("broken.png cannot be read")


def test_the_pill_follows_the_models(page: Page, scripted: ScriptedPage) -> None:
    expect(page.locator("#pill")).to_contain_text("ready")
    scripted.runner.said = Status("loading", "pocket models are loading")
    page.reload()
    expect(page.locator("#pill")).to_contain_text("loading")
    scripted.runner.said = None
    expect(page.locator("#pill")).to_contain_text("ready")
    # what breaks later is said when a run ends
    scripted.runner.said = Status("failed", "The models' process is not answering.")
    ask(page, "a fish from memory")
    expect(page.locator("#pill")).to_contain_text("not answering", timeout=RUN)
    scripted.runner.said = None
    ask(page, "a robot in the city")
    expect(page.locator("#pill")).to_contain_text("ready", timeout=RUN)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, scripted: ScriptedPage, dark: bool) -> None:
    with visit(browser, scripted.address, dark=dark) as page:
        for name in ("Settings", "Your own pictures", "Open a saved picture"):
            page.get_by_role("button", name=name).click()
        ask(page, "a quixel butterfly in the snow")
        finished(page)
        page.get_by_role("button", name="Check it").click()
        expect(page.locator(".counterfactuals figure")).to_have_count(7, timeout=RUN)
        finished(page)
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


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.locator("#prompt textarea").fill("a quixel butterfly in the snow")
    page.locator("#prompt textarea").focus()
    press_until(page, "Run")
    page.keyboard.press("Enter")
    finished(page)
    press_until(page, "Reject: ")
    page.keyboard.press("Space")
    expect(page.locator(".turned-down")).to_contain_text("1 turned down", timeout=RUN)
    finished(page)
    page.locator("#run").focus()
    press_until(page, "Check it")
    page.keyboard.press("Enter")
    expect(page.locator(".counterfactuals figure")).to_have_count(7, timeout=RUN)


def press_until(page: Page, name: str) -> None:
    """Press Tab until a button whose name begins so has the focus."""
    focused = "() => document.activeElement.ariaLabel || document.activeElement.innerText.split('\\n')[0]"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(focused).strip().startswith(name):
            return
    raise AssertionError(f"60 presses of Tab do not reach {name!r}")
