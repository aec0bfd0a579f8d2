"""Runs that follow the typing, in a real Chromium: the newest wins, others go first, nothing old over anything new."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from library_world import picture, write_small_library
from playwright.sync_api import Browser, Page, expect
from quick_method import Endless, Quick

from ragdemo import profiles
from ragdemo.methods import METHODS
from ragdemo.profiles import Profile
from ragdemo.request import OWN_LIBRARY
from ragdemo.run.base import check_request
from ragdemo.run.inprocess import InProcess
from ragdemo.run.offers import Offer, Offers
from ragdemo.ui import line
from ragdemo.ui.blocks import Services
from ragdemo.ui.page import build_page
from ragdemo.ui.vocabulary import Vocabulary
from scripts.browser import serve, visit
from tests.hostile.visitor import Visitor
from tests.scripted_page import RUN

PAINTED = """() => {
  window.painted = [];
  new MutationObserver(() => {
    const alt = document.querySelector('.chapter.result .shot img')?.alt;
    if (alt && window.painted.at(-1) !== alt) window.painted.push(alt);
  }).observe(document.querySelector('#row'), {childList: true, subtree: true, attributes: true});
}"""


@dataclass
class Live:
    """The page and what stands behind it."""

    address: str
    quick: Quick
    endless: Endless


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder, quick, endless = tmp_path_factory.mktemp("live"), Quick(), Endless()
    write_small_library(folder / "libraries" / "small", 8)
    profile = Profile("scripted-live", {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGDEMO_LIBRARIES", str(folder / "libraries"))
        patch.setitem(profiles.PROFILES, profile.name, profile)
        for method in (quick, endless):
            patch.setitem(METHODS, method.name, method)
        runner = InProcess("cpu", profile=profile.name, library="small")
        services = Services(
            runner=runner,
            catalogue=runner.catalogue,
            offers=Offers((Offer(profile, (quick, endless)),)),
            vocabulary=Vocabulary(),
            check=check_request,
        )
        runner.start()
        with serve(build_page(services)) as address:
            yield Live(address, quick, endless)


@pytest.fixture
def page(browser: Browser, live: Live) -> Iterator[Page]:
    with visitor(browser, live) as opened:
        yield opened


@contextmanager
def visitor(browser: Browser, live: Live) -> Iterator[Page]:
    """Somebody who has just opened the page on its small library."""
    with visit(browser, f"{live.address}?prompt=start&method=quick&library=small") as opened:
        expect(opened.locator("#prompt textarea")).to_have_value("start")
        shown(opened, "start")  # the link has run
        expect(opened.locator("#announcement")).to_have_text("Done.", timeout=RUN)
        live.quick.requests.clear()
        live.quick.drawn.clear()
        opened.evaluate(PAINTED)
        yield opened


def type_in(page: Page, text: str, delay: float = 20) -> None:
    page.locator("#prompt textarea").fill("")
    page.locator("#prompt textarea").press_sequentially(text, delay=delay)


def shown(page: Page, prompt: str) -> None:
    expect(page.locator(".chapter.result .shot img")).to_have_attribute(
        "alt", f"With references: {prompt}", timeout=RUN
    )


def choose_endless(page: Page) -> None:
    page.locator("#method").get_by_text("Endless").click()
    expect(page.locator("#method-sentence")).to_contain_text("minute")


def drawn_of(live: Live, prompt: str) -> list[str]:
    """The pictures of one prompt: on a busy machine some that were typed on the way are drawn as well."""
    return [one for one in live.quick.drawn if one.startswith(f"{prompt}/")]


def painted(page: Page) -> list[str]:
    """The prompts whose pictures were shown, after that of the link."""
    prompts = [alt.removeprefix("With references: ") for alt in page.evaluate("window.painted")]
    return [prompt for prompt in prompts if prompt != "start"]


def test_the_picture_follows_the_typing_without_a_press(page: Page, live: Live) -> None:
    type_in(page, "a red car")
    shown(page, "a red car")
    assert [request.prompt for request in live.quick.requests][-1] == "a red car"
    assert len(live.quick.requests) < len("a red car")
    type_in(page, "a red cars")
    shown(page, "a red cars")
    expect(page.locator("#stop")).to_be_hidden()
    page.locator("#prompt textarea").fill("all at once, as a paste is")
    shown(page, "all at once, as a paste is")


def test_the_newest_wins_and_no_older_picture_comes_after_a_newer_one(page: Page, live: Live) -> None:
    text = "abcdefghijklmnopqrstuvwxyz"
    type_in(page, text, delay=170)  # slower than the rest of the hands, faster than the pictures
    shown(page, text)
    page.wait_for_timeout(800)
    prompts = painted(page)
    assert prompts[-1] == text
    assert all(text.startswith(prompt) for prompt in prompts)
    assert prompts == sorted(prompts, key=len)
    assert 1 < len(prompts) < len(text) - 5  # some were dropped
    assert len(live.quick.requests) == len({request.prompt for request in live.quick.requests})


def test_an_empty_field_leaves_the_last_picture(page: Page, live: Live) -> None:
    type_in(page, "a red car")
    shown(page, "a red car")
    before = len(live.quick.requests)
    page.locator("#prompt textarea").fill("   ")
    page.wait_for_timeout(500)
    shown(page, "a red car")
    assert len(live.quick.requests) == before
    assert "failed" not in (page.locator("#announcement").get_attribute("class") or "")


def test_a_slower_method_waits_for_a_press(page: Page, live: Live) -> None:
    choose_endless(page)
    asked = len(live.endless.requests)
    type_in(page, "a red car")
    page.wait_for_timeout(500)
    assert (live.quick.requests, len(live.endless.requests)) == ([], asked)
    page.locator("#method").get_by_text("Quick").click()
    expect(page.locator("#method-sentence")).to_contain_text("while you type")
    type_in(page, "a red car again")
    shown(page, "a red car again")


def test_another_seed_is_drawn_at_once(page: Page, live: Live) -> None:
    type_in(page, "a red car")
    shown(page, "a red car")
    page.locator("#seed input").fill("123")
    deadline = time.monotonic() + 20
    while live.quick.requests[-1].seed != 123 and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    page.locator("#dice").click()
    while live.quick.requests[-1].seed == 123 and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert live.quick.requests[-1].seed not in (7, 123)


def test_a_press_goes_before_what_is_typed(page: Page, live: Live) -> None:
    type_in(page, "many cars")
    page.wait_for_timeout(500)  # its first pictures are drawn
    page.locator("#prompt textarea").fill("one car")
    page.locator("#prompt textarea").press("Control+Enter")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    shown(page, "one car")
    page.wait_for_timeout(800)
    assert painted(page) == ["one car"]


def test_typing_waits_for_another_visitors_run_and_says_so(browser: Browser, page: Page, live: Live) -> None:
    with visitor(browser, live) as other:
        choose_endless(other)
        other.locator("#run").click()
        expect(other.locator(".chapter.draft .progress")).to_contain_text(" of ", timeout=RUN)
        type_in(page, "a red car")
        expect(page.locator("#announcement")).to_contain_text("Waiting", timeout=RUN)
        assert live.quick.requests == []
        other.locator("#stop").click()
        shown(page, "a red car")


def test_between_two_pictures_another_visitors_run_goes_first(
    browser: Browser, page: Page, live: Live
) -> None:
    with visitor(browser, live) as other:
        choose_endless(other)
        type_in(page, "many cars")
        deadline = time.monotonic() + 20
        while "many cars/0" not in live.quick.drawn and time.monotonic() < deadline:
            page.wait_for_timeout(10)
        other.locator("#run").click()
        expect(other.locator(".chapter.draft .progress")).to_contain_text(" of ", timeout=RUN)
        expect(page.locator("#announcement")).to_contain_text("Waiting", timeout=RUN)
        drawn = drawn_of(live, "many cars")
        assert len(drawn) < 8
        page.wait_for_timeout(500)
        assert drawn_of(live, "many cars") == drawn  # it waits
        other.locator("#stop").click()
        shown(page, "many cars")
        drawn = drawn_of(live, "many cars")
        assert set(drawn) == {f"many cars/{turn}" for turn in range(8)}
        assert len(drawn) <= 9  # only the one in the making is drawn again


def test_typing_finds_pictures_in_ones_own_library(page: Page, live: Live, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "cup.png")
    page.get_by_role("tab", name="Library").click()
    page.locator("#own-library-files input[type=file]").set_input_files(tmp_path / "cup.png")
    expect(page.locator("#library-summary")).to_contain_text("1 picture", timeout=RUN)
    page.get_by_role("tab", name="Explore").click()
    type_in(page, "a red cup")
    shown(page, "a red cup")
    assert live.quick.requests[-1].library == OWN_LIBRARY


def test_nothing_is_drawn_for_those_who_have_gone(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "UNHEARD_SECONDS", 0.3)
    live.quick.requests.clear()
    stranger = Visitor(live.address)  # asks, and never listens
    event = stranger.event("follow")
    stranger.call(event, stranger.values(event, prompt="a red car")).raise_for_status()
    time.sleep(1.5)
    assert live.quick.requests == []
    stranger.http.close()


def test_a_run_that_breaks_says_so_and_the_next_letter_mends_it(page: Page) -> None:
    type_in(page, "memory")
    expect(page.locator("#announcement")).to_contain_text("The models stopped", timeout=RUN)
    type_in(page, "a red car")
    shown(page, "a red car")
