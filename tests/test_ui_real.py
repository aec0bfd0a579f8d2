"""The page as `python app.py` serves it, with the pocket models in their own process, in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import app
from ragdemo.recipe import read_png
from scripts.browser import serve, visit

RUN = 120_000  # milliseconds: the models load first
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    app.runner.start()
    with serve(app.demo) as address, visit(browser, address) as opened:
        yield opened


def test_an_example_is_there_before_the_models_are(page: Page) -> None:
    expect(page.locator(".chapter.draft")).to_contain_text("recorded")
    chip = page.locator("#chips button").nth(1)
    prompt = chip.inner_text()
    chip.click()
    expect(page.locator("#prompt textarea")).to_have_value(prompt)
    expect(page.locator(".chapter.draft img")).to_have_attribute("alt", f"Draft: {prompt}")
    expect(page.locator("#announcement")).to_contain_text("Recorded")
    expect(page.locator("#row .chapter img")).to_have_count(3)


def test_a_whole_run_with_the_pocket_models(page: Page, tmp_path: Path) -> None:
    page.locator("#prompt textarea").fill("a quixel butterfly in the snow")
    page.locator("#seed input").fill("11")
    page.locator("#run").click()
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".chapter.missing mark")).to_have_text("quixel butterfly")
    expect(page.locator(".chapter.missing blockquote").first).to_be_visible()
    expect(page.locator(".card.used .caption")).to_have_text(re.compile("butterfly"))
    expect(page.locator(".pair img")).to_have_count(2)
    expect(page.locator(".pair .checklist").first).to_contain_text("quixel butterfly", timeout=RUN)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download with recipe").click()
    saved.value.save_as(tmp_path / "result.png")
    recipe = read_png(tmp_path / "result.png")
    assert (recipe.request.prompt, recipe.request.seed) == ("a quixel butterfly in the snow", 11)
    assert len(recipe.references) == 1
    assert recipe.weights


def test_the_draft_stays_when_a_reference_is_rejected(page: Page) -> None:
    draft = page.locator(".chapter.draft img").get_attribute("src")
    used = page.locator(".card.used .caption")
    before = used.get_attribute("title")
    assert before is not None
    page.locator(".card.used").get_by_role("button", name="Reject").click()
    expect(used).not_to_have_attribute("title", before, timeout=RUN)
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    assert page.locator(".chapter.draft img").get_attribute("src") == draft


def test_the_counterfactuals_are_drawn(page: Page) -> None:
    page.get_by_role("button", name="Check it").click()
    expect(page.locator(".counterfactuals figure")).to_have_count(7, timeout=RUN)
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".concluded")).to_have_text(re.compile(r"^Right in \d of 4 without the reference, "))
    sources = [figure.get_attribute("src") for figure in page.locator(".counterfactuals img").all()]
    assert len(set(sources)) == 7


def test_the_library_is_searched(page: Page) -> None:
    page.get_by_role("tab", name="Library").click()
    expect(page.locator("#library-cards .card")).to_have_count(24)
    search = page.locator("#library-query").get_by_role("textbox")
    search.fill("a quixel butterfly")
    search.press("Enter")
    expect(page.locator("#library-summary")).to_contain_text("nearest to", timeout=RUN)
    expect(page.locator("#library-cards .card").first).to_contain_text("butterfly")
