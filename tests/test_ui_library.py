"""The library tab as a visitor uses it: names are found however they are typed, filters combine, cards start runs."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from ragdemo.foreign import phrased
from ragdemo.models.base import ENCODER
from ragdemo.profiles import get_profile
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import of_tier
from tests.scripted_page import RUN, ScriptedPage, finished

NAME = "quixel butterfly"


@pytest.fixture
def tab(page: Page) -> Page:
    """The library tab of a fresh visitor."""
    page.get_by_role("tab", name="Library").click()
    expect(page.locator("#library-cards .card")).to_have_count(24)
    return page


def look_up(tab: Page, words: str) -> None:
    field = tab.locator("#library-query").get_by_role("textbox")
    field.fill(words)
    field.press("Enter")
    expect(tab.locator("#library-summary")).to_contain_text("nearest to", timeout=RUN)


def choose(tab: Page, field: str, option: str) -> None:
    tab.locator(f"{field} input").click()
    tab.get_by_role("option", name=option, exact=True).click()


@pytest.mark.parametrize("tier", ["common", "rare", "novel"])
def test_an_exact_name_comes_first_in_any_form(scripted: ScriptedPage, tier: str) -> None:
    runner, profile = scripted.runner, get_profile("pocket")
    runner.search("a fish", 1)
    library = runner.catalogue.open("pocket")
    searcher = runner._searcher(runner._ready(profile, (ENCODER,)), library)
    right = total = 0
    for number, species in enumerate(of_tier(tier)):
        prompts = phrased(species.name, SCENES[number % len(SCENES)], "report")
        for prompt in prompts[number % 20 :: 20]:
            found = searcher.look_up(prompt, 12)
            right += all(library.row(hit.id).extra["species"] == species.name for hit in found)
            total += 1
    assert right / total >= 0.98


def test_words_filters_and_groups_combine(tab: Page) -> None:
    cards = tab.locator("#library-cards .card")
    choose(tab, "#library-kind", "fish")
    choose(tab, "#library-tier", "rare")
    expect(tab.locator("#library-summary")).to_contain_text("120 pictures · fish · rare")
    tab.locator("#library-each input").check()
    expect(tab.locator("#library-summary")).to_contain_text("10 species · fish · rare")
    expect(cards).to_have_count(10)
    look_up(tab, "a fish in the snow")
    expect(tab.locator("#library-summary")).to_contain_text("10 pictures nearest to")
    names = {text.split(" fish")[0].split()[-1] for text in cards.locator(".caption").all_inner_texts()}
    assert len(names) == 10
    tab.get_by_role("button", name="Clear the search").click()
    expect(cards).to_have_count(10)
    cards.first.get_by_role("button", name="All 12 pictures").click()
    expect(tab.locator("#library-summary")).to_contain_text("12 pictures nearest to", timeout=RUN)
    words = tab.locator("#library-query").get_by_role("textbox").input_value()
    for text in cards.locator(".caption").all_inner_texts():
        assert words in text


def test_more_like_this_and_looks_alone(tab: Page) -> None:
    look_up(tab, NAME)
    first = tab.locator("#library-cards .card").first
    wanted = first.locator(".caption").get_attribute("title")
    expect(first.locator(".keyword")).to_have_count(1)
    tab.locator("#library-looks input").check()
    expect(tab.locator("#library-cards .keyword")).to_have_count(0, timeout=RUN)
    tab.locator("#library-looks input").uncheck()
    expect(first.locator(".keyword")).to_have_count(1, timeout=RUN)
    first.get_by_role("button", name="More like this").click()
    expect(tab.locator("#library-summary")).to_contain_text("nearest to your picture", timeout=RUN)
    expect(first.locator(".caption")).to_have_attribute("title", wanted or "")


def test_a_card_is_drawn_or_becomes_a_reference(tab: Page, scripted: ScriptedPage) -> None:
    look_up(tab, NAME)
    first = tab.locator("#library-cards .card").first
    first.get_by_role("button", name="Draw this").click()
    expect(tab.locator("#prompt textarea")).to_be_visible()
    finished(tab)
    asked = scripted.method.requests[-1]
    assert asked.prompt.startswith(f"a {NAME} in the ")
    expect(tab.locator("#prompt textarea")).to_have_value(asked.prompt)
    tab.get_by_role("tab", name="Library").click()
    other = tab.locator("#library-cards .card").nth(3)
    wanted = other.locator(".caption").get_attribute("title")
    other.get_by_role("button", name="Use as reference").click()
    expect(tab.locator(".card.used .note").first).to_have_text("✓ pinned", timeout=RUN)
    finished(tab)
    assert scripted.method.requests[-1] == asked.changed(choices=asked.choices.changed(pinned=(wanted,)))


def test_what_runs_do_not_search_is_said(tab: Page) -> None:
    expect(tab.locator("#library-summary")).to_contain_text("Runs look into 1,560 of this library's pictures")
    expect(tab.locator("#library-cards .note").first).to_have_text("not searched by runs")
