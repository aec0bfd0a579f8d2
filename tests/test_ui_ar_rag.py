"""AR-RAG on the page: the picture as it grows, where its patches came from, and λ under one's hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from library_world import write_small_library
from playwright.sync_api import Browser, Page, expect
from tiny_janus import build_janus

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

WANTED = "?prompt=a+red+square&seed=4&library=small"
SETTINGS = "&settings=%7B%22references%22%3A4%2C%22neighbours%22%3A8%7D"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A served page whose one profile is a tiny Janus, with a small library."""
    folder = tmp_path_factory.mktemp("page")
    write_small_library(folder / "libraries" / "small", 40)
    tiny = replace(build_janus(folder / "models"), name="tiny-janus-page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGDEMO_LIBRARIES", str(folder / "libraries"))
        patch.setenv("RAGDEMO_CACHE", str(folder / "cache"))
        patch.setitem(profiles.PROFILES, tiny.name, tiny)
        runner = InProcess("cpu", profile=tiny.name, library="small")
        services = Services(
            runner=runner,
            catalogue=runner.catalogue,
            offers=Offers((Offer(tiny, (get_method("ar_rag"),)),)),
            vocabulary=Vocabulary(),
            check=check_request,
        )
        with serve(build_page(services)) as served:
            yield served


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with visit(browser, f"{address}{WANTED}{SETTINGS}") as opened:
        yield opened


def run(page: Page) -> None:
    expect(page.locator("#prompt textarea")).to_have_value("a red square")  # the link has been followed
    page.locator("#run").click()
    settled(page)


def settled(page: Page) -> None:
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".provenance .givers button[data-act=reject]").first).to_be_enabled()


def result(page: Page) -> str:
    return page.locator(".chapter.result .shot img").get_attribute("src") or ""


def test_pointing_keys_and_taps_tell_where_a_patch_came_from(page: Page) -> None:
    run(page)
    board, detail = page.locator(".provenance .board"), page.locator(".provenance .detail")
    expect(page.locator(".giver")).to_have_count(4)
    board.hover(position={"x": 5, "y": 5})
    expect(detail).to_contain_text("Row 1, column 1: the model's own.")
    board.focus()
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(detail).to_contain_text("Row 3, column 2")
    expect(detail.locator("th")).to_have_text(["the model alone", "retrieved"])
    page.keyboard.press("ArrowUp")
    expect(detail).to_contain_text("Row 2, column 2")
    box = board.bounding_box()
    assert box
    page.mouse.click(box["x"] + 0.55 * box["width"], box["y"] + 0.75 * box["height"])
    expect(detail).to_contain_text("Row 5, column 4")
    shares = [int(text.split()[0]) for text in page.locator(".giver b").all_text_contents()]
    assert 0 < sum(shares) <= 101


def test_a_source_shows_its_patches_alone(page: Page) -> None:
    run(page)
    warmth = "() => new Uint8Array(document.querySelector('.provenance canvas').getContext('2d')"
    warmth += ".getImageData(0, 0, 6, 6).data.buffer).filter((v, i) => i % 4 == 3 && v > 0).length"
    everywhere = page.evaluate(warmth)
    first = page.locator(".giver:not(.nothing)").first
    first.click()
    expect(first).to_have_attribute("aria-pressed", "true")
    assert 0 < page.evaluate(warmth) <= everywhere
    first.click()
    assert page.evaluate(warmth) == everywhere


def test_a_rejected_source_is_gone_and_the_draft_stays(page: Page) -> None:
    run(page)
    draft = page.locator(".chapter.draft .shot img").get_attribute("src")
    name = page.locator(".givers .caption").first.text_content() or ""
    page.locator(".givers button[data-act=reject]").first.click()
    expect(page.locator(".givers .caption", has_text=re.compile(f"^{re.escape(name)}$"))).to_have_count(
        0, timeout=RUN
    )
    settled(page)
    assert page.locator(".chapter.draft .shot img").get_attribute("src") == draft


def test_the_result_follows_the_weight_as_soon_as_it_is_released(page: Page) -> None:
    run(page)
    draft, before = page.locator(".chapter.draft .shot img").get_attribute("src"), result(page)
    weight = page.get_by_role("slider", name=re.compile("Weight of retrieved patches")).first
    weight.scroll_into_view_if_needed()
    box = weight.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    page.mouse.up()
    page.wait_for_function(
        "before => document.querySelector('.chapter.result .shot img')?.src !== before",
        arg=before,
        timeout=RUN,
    )
    settled(page)
    assert page.locator(".chapter.draft .shot img").get_attribute("src") == draft
    expect(page.locator(".provenance .plain b")).to_have_text("1.00")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_it_is_whole_and_accessible_on_any_screen(
    browser: Browser, address: str, width: int, dark: bool
) -> None:
    with visit(browser, f"{address}{WANTED}{SETTINGS}", width, 844, dark) as page:
        run(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        expect(page.locator(".provenance .board")).to_be_visible()
        page.locator(".provenance summary").click()
        assert serious(page) == []
