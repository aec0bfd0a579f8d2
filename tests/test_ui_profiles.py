"""A page with two profiles: methods, settings, the models' state, runs and searches follow the one that is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from ragdemo.events import Result
from ragdemo.methods import METHODS
from ragdemo.profiles import POCKET, PROFILES
from ragdemo.recipe import png_with_recipe
from ragdemo.run.offers import Offer, Offers
from ragdemo.ui.page import build_page
from scripts.browser import serve, visit
from tests.scripted_page import RECORDED, RUN, ScriptedPage, ask, finished

LACKING = "huge: needs a GPU with 900 GB."


@pytest.fixture(scope="module")
def address(scripted: ScriptedPage) -> Iterator[str]:
    """The scripted page with a second profile of the same models, whose pictures take more steps."""
    generator = POCKET.spec("generator")
    generator = replace(generator, defaults={**generator.defaults, "steps": 24})
    other = replace(POCKET, name="other", roles={**POCKET.roles, "generator": generator})
    here = (*scripted.services.offers.here, Offer(other, (METHODS["realrag"], scripted.method)))
    PROFILES[other.name] = other
    try:
        with serve(build_page(replace(scripted.services, offers=Offers(here, (LACKING,))))) as served:
            yield served
    finally:
        del PROFILES[other.name]


@pytest.fixture
def two(browser: Browser, scripted: ScriptedPage, address: str) -> Iterator[Page]:
    """A fresh visitor."""
    scripted.reset()
    with visit(browser, address) as opened:
        yield opened


def choose(page: Page, profile: str) -> None:
    page.locator("#profile input").click()
    page.get_by_role("option", name=profile).click()


def steps(page: Page) -> Locator:
    """The number and the slider of the one setting of that name that is shown."""
    return page.locator("#settings").get_by_label("Denoising steps")


def test_methods_settings_and_state_follow_the_profile(two: Page) -> None:
    two.get_by_role("button", name="Settings").click()
    expect(two.locator("#lacking")).to_have_text(LACKING)
    expect(two.locator("#method label")).to_have_text(["Scripted", "ImageRAG", "RealRAG"])
    two.locator("#method label", has_text="ImageRAG").click()
    expect(steps(two).first).to_have_value("16")
    choose(two, "other")
    expect(two.locator("#method label")).to_have_text(["RealRAG", "Scripted"])
    expect(two.locator("#method input:checked")).to_have_value("realrag")
    expect(two.locator("#method-sentence")).to_contain_text("would not draw by itself")
    expect(steps(two).first).to_have_value("24")
    expect(steps(two)).to_have_count(2)
    expect(two.locator("#pill")).to_contain_text("other models · ready", timeout=RUN)


def test_a_run_and_a_search_take_the_profile_that_is_chosen(
    two: Page, scripted: ScriptedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[object] = []
    found = scripted.runner.search
    monkeypatch.setattr(
        scripted.runner, "search", lambda *asked, **rest: searched.append(asked[3]) or found(*asked, **rest)
    )
    ask(two, "a quixel butterfly in the snow")
    finished(two)
    choose(two, "other")
    expect(two.locator("#method input:checked")).to_have_value("scripted")
    two.locator("#run").click()
    expect(two.locator("#pill")).to_contain_text("other models", timeout=RUN)
    finished(two)
    assert [request.profile for request in scripted.method.requests] == ["pocket", "other"]
    assert scripted.method.requests[-1].settings == {}
    two.get_by_role("tab", name="Library").click()
    two.locator("#library-query").get_by_role("textbox").fill("a quixel butterfly")
    two.locator("#library-query").get_by_role("textbox").press("Enter")
    expect(two.locator("#library-cards .card")).to_have_count(12, timeout=RUN)
    assert searched == ["other"]


def test_an_example_stands_with_the_profile_of_its_recording(two: Page) -> None:
    choose(two, "other")
    expect(two.locator("#pill")).to_contain_text("other models", timeout=RUN)
    two.locator("#chips").get_by_role("button", name=RECORDED).click()
    expect(two.locator("#profile input")).to_have_value("pocket")
    expect(two.locator("#method label")).to_have_count(3)
    expect(two.locator("#method input:checked")).to_have_value("scripted")
    expect(two.locator("#pill")).to_contain_text("pocket models · ready")


def test_a_saved_picture_is_drawn_again_with_its_profile(
    two: Page, scripted: ScriptedPage, tmp_path: Path
) -> None:
    result = scripted.recording[-1]
    assert isinstance(result, Result)
    request = result.recipe.request.changed(profile="other", settings={"steps": 9})
    recipe = replace(result.recipe, request=request)
    (tmp_path / "saved.png").write_bytes(png_with_recipe(result.image, recipe))
    two.get_by_role("button", name="Open a saved picture").click()
    two.locator("#saved input[type=file]").set_input_files(tmp_path / "saved.png")
    expect(two.locator("#profile input")).to_have_value("other")
    finished(two)
    two.get_by_role("button", name="Settings").click()
    expect(steps(two).first).to_have_value("9")
    assert scripted.method.requests[-1] == request


def test_with_one_profile_there_is_nothing_to_choose(page: Page) -> None:
    expect(page.locator("#profile")).to_be_hidden()
    page.get_by_role("button", name="Settings").click()
    expect(page.locator("#lacking")).to_be_hidden()
