"""ImageRAGTurbo on the page: the pictures follow the typing and the blend, side by side, with their milliseconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from library_world import write_small_library
from playwright.sync_api import Browser, Page, expect
from tiny_turbo import build_turbo

from ragdemo import profiles
from ragdemo.methods import get_method
from ragdemo.run.base import check_request
from ragdemo.run.inprocess import InProcess
from ragdemo.run.offers import Offer, Offers
from ragdemo.ui.blocks import Services
from ragdemo.ui.page import build_page
from ragdemo.ui.vocabulary import Vocabulary
from scripts.browser import serve, visit
from tests.scripted_page import RUN
from tests.test_ui_page import serious

WANTED = "?prompt=a+red+square+number+36&seed=4&library=small&method=turbo"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A served page whose one profile is a tiny SD-Turbo with an adapter, with a small library."""
    folder = tmp_path_factory.mktemp("page")
    write_small_library(folder / "libraries" / "small", 40)
    tiny = replace(build_turbo(folder / "models", adapter=True), name="tiny-turbo-page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGDEMO_LIBRARIES", str(folder / "libraries"))
        patch.setenv("RAGDEMO_CACHE", str(folder / "cache"))
        patch.setitem(profiles.PROFILES, tiny.name, tiny)
        runner = InProcess("cpu", profile=tiny.name, library="small")
        services = Services(
            runner=runner,
            catalogue=runner.catalogue,
            offers=Offers((Offer(tiny, (get_method("turbo"),)),)),
            vocabulary=Vocabulary(),
            check=check_request,
        )
        runner.start()
        with serve(build_page(services)) as served:
            yield served


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with visit(browser, f"{address}{WANTED}") as opened:
        settled(opened, "a red square number 36")  # the link has run
        yield opened


def typed(page: Page, text: str) -> None:
    """Type the rest of a prompt and wait for its picture."""
    page.locator("#prompt textarea").fill("")
    page.locator("#prompt textarea").press_sequentially(text, delay=20)
    settled(page, text)


def settled(page: Page, prompt: str) -> None:
    expect(page.locator(".chapter.result .shot img")).to_have_attribute(
        "alt", f"With the pair: {prompt}", timeout=RUN
    )
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".chapter.strip figure")).to_have_count(5)


def source(page: Page, chapter: str) -> str:
    return page.locator(f".chapter.{chapter} .shot img").get_attribute("src") or ""


def test_typing_shows_the_student_beside_the_pair_and_both_together(page: Page) -> None:
    typed(page, "a blue square number 34")
    expect(page.locator(".chapter.reference .caption")).to_have_text("a blue square number 34")
    expect(page.locator(".chapter.draft .shot img")).to_be_visible()
    assert source(page, "draft") != source(page, "result")
    cells = page.locator(".chapter.times tbody tr td:last-child").all_text_contents()
    assert len(cells) == 4
    assert all(float(cell) >= 0 for cell in cells)
    expect(page.locator(".chapter.strip figcaption")).to_have_text(
        ["w = 0.00", "w = 0.25", "w = 0.50", "w = 0.75", "w = 1.00"]
    )
    typed(page, "a green square number 33")
    expect(page.locator(".chapter.reference .caption")).to_have_text("a green square number 33")


def test_the_blend_follows_the_slider_while_it_is_dragged(page: Page) -> None:
    typed(page, "a blue square number 34")
    draft, before = source(page, "draft"), source(page, "result")
    weight = page.get_by_role("slider", name=re.compile("Share of the prompt's own features")).first
    weight.scroll_into_view_if_needed()
    box = weight.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + box["height"] / 2, steps=4)
    page.wait_for_function(
        "before => document.querySelector('.chapter.result .shot img')?.src !== before",
        arg=before,
        timeout=RUN,
    )  # the button is still held
    page.mouse.up()
    settled(page, "a blue square number 34")
    assert source(page, "draft") == draft


def test_another_pair_is_a_press_away(page: Page) -> None:
    typed(page, "a blue square number 34")
    used = page.locator(".chapter.reference .caption").text_content() or ""
    page.locator(".candidates button[data-act=reject]").first.click()
    expect(page.locator(".chapter.reference .caption")).not_to_have_text(used, timeout=RUN)
    settled(page, "a blue square number 34")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_it_is_whole_and_accessible_on_any_screen(
    browser: Browser, address: str, width: int, dark: bool
) -> None:
    with visit(browser, f"{address}{WANTED}", width, 844, dark) as page:
        expect(page.locator("#prompt textarea")).to_have_value("a red square number 36")
        typed(page, "a blue square number 34")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator(".strip summary").click()
        assert serious(page) == []
