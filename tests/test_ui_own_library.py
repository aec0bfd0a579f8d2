"""A visitor invents something or brings pictures: they make a library of the session, and runs find them in it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from library_world import picture
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from ragdemo.images import encode_png
from ragdemo.invention import PICTURES
from ragdemo.library.ingest import ingest
from ragdemo.request import OWN_LIBRARY
from scripts.browser import visit
from tests.scripted_page import RUN, ScriptedPage, ask, finished


def invent(page: Page, name: str, kind: str = "fish") -> None:
    """Open the panel if it is folded, choose a kind, type a name and draw."""
    if not page.locator("#invent-form form").is_visible():
        page.locator("#invent > button").click()
    page.locator(f".pictured.kind label[title={kind}]").click()
    page.locator(".naming input").fill(name)
    page.get_by_role("button", name="Draw a dozen").click()


def bring(page: Page, *files: Path, name: str = "") -> None:
    """Upload files to the visitor's library."""
    page.get_by_role("tab", name="Library").click()
    page.locator("#own-library-group textarea, #own-library-group input").fill(name)
    page.locator("#own-library-files input[type=file]").set_input_files(list(files))


def saved(path: Path, seed: int = 0, colour: str = "red") -> Path:
    picture(seed, colour).save(path)
    return path


def test_what_is_invented_is_asked_for_and_found(page: Page, scripted: ScriptedPage) -> None:
    invent(page, "zorby")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    finished(page)
    asked = scripted.method.requests[-1]
    assert (asked.library, asked.prompt.startswith("a zorby fish in the ")) == (OWN_LIBRARY, True)
    expect(page.locator("#prompt textarea")).to_have_value(asked.prompt)
    expect(page.locator("#hint mark")).to_have_text("zorby")
    expect(page.locator(".invented .strip img")).to_have_count(PICTURES)
    expect(page.locator(".candidates .card.used .caption")).to_contain_text("zorby fish")
    expect(page.locator("#library input")).to_have_value(f"yours · {PICTURES} pictures")
    assert "library=yours" in page.url
    page.locator("#run").click()  # asks the same library again
    page.wait_for_timeout(300)
    finished(page)
    assert scripted.method.requests[-1] == asked
    page.get_by_role("tab", name="Library").click()
    expect(page.locator(".groups li")).to_have_count(1)
    expect(page.locator("#library-summary")).to_contain_text("12 pictures")


def test_the_preview_follows_the_choice_and_names_what_cannot_be(page: Page) -> None:
    page.locator("#invent > button").click()
    shown = page.locator("#invent-preview img")
    before = shown.get_attribute("src")
    page.locator(".pictured.kind label[title=robot]").click()
    expect(shown).not_to_have_attribute("src", before or "")
    body = page.locator(".coloured").first.locator("input[checked]").get_attribute("value")
    page.locator(".coloured").nth(1).locator(f"label[title={body}]").click()
    expect(page.locator("#invent-preview")).to_contain_text("cannot be seen")
    page.get_by_role("button", name="Roll a look").click()
    expect(page.locator("#invent-preview img")).to_be_visible()
    page.locator(".naming input").fill("red")
    page.get_by_role("button", name="Draw a dozen").click()
    expect(page.locator("#invent-result")).to_contain_text("means something in this world already")
    expect(page.locator("#announcement")).not_to_have_text("Starting …")


def test_pictures_become_a_library_that_is_searched_renamed_and_removed(
    page: Page, scripted: ScriptedPage, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        archive.writestr("../out.png", encode_png(picture(7)))
        for seed in range(10):
            archive.writestr(f"blue cups/{seed}.png", encode_png(picture(seed, "blue")))
    (tmp_path / "broken.png").write_text("no picture")
    bring(page, saved(tmp_path / "IMG_1.png", 20), tmp_path / "broken.png", tmp_path / "many.zip")
    expect(page.locator("#own-library-progress")).to_contain_text("11 pictures taken in", timeout=RUN)
    expect(page.locator(".skipped")).to_contain_text("broken.png")
    expect(page.locator(".skipped")).to_contain_text("leads out of the archive")
    expect(page.locator(".groups li")).to_have_count(2)
    expect(page.locator("#library-summary")).to_contain_text("11 pictures")
    expect(page.locator(".strange")).to_contain_text("pocket models cannot draw")
    page.locator("#library-query textarea, #library-query input").fill("cups")
    page.locator("#library-query").get_by_role("button", name="Search").click()
    expect(page.locator("#library-cards .caption").first).to_have_text("blue cups", timeout=RUN)
    page.get_by_label("Name of the group blue cups").fill("our new product")
    page.get_by_label("Name of the group blue cups").press("Enter")
    expect(page.locator("#library-cards")).to_contain_text("our new product")
    page.get_by_role("tab", name="Explore").click()
    ask(page, "our new product in the snow")
    finished(page)
    assert scripted.method.requests[-1].library == OWN_LIBRARY
    page.get_by_role("tab", name="Library").click()
    for name in ("our new product", "pictures of yours"):
        page.get_by_role("button", name=f"Remove {name}").click()
        expect(page.locator(f"[data-group='{name}']")).to_have_count(0)
    expect(page.locator("#own-library-groups")).to_contain_text("Nothing is in it yet")
    expect(page.locator("#library-summary")).to_contain_text("3,120 pictures")


def test_a_library_is_taken_home_as_a_folder_that_builds_again(page: Page, tmp_path: Path) -> None:
    invent(page, "blip", "car")
    finished(page)
    page.get_by_role("tab", name="Library").click()
    page.get_by_role("button", name="Pack for download").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save blip-car-library.zip").click()
    download.value.save_as(tmp_path / "mine.zip")
    library = ingest(tmp_path / "mine.zip", tmp_path / "library").library
    assert len(library) == PICTURES
    assert {row.extra["species"] for row in library.rows} == {"blip car"}


def test_nobody_else_sees_it(page: Page, browser: Browser, scripted: ScriptedPage) -> None:
    invent(page, "blip", "car")
    finished(page)
    with visit(browser, f"{scripted.address}?prompt=a%20blip%20car&library={OWN_LIBRARY}") as other:
        expect(other.get_by_role("alert")).to_contain_text("has ended with it")
        expect(other.locator("#library")).to_be_hidden()
        other.get_by_role("tab", name="Library").click()
        expect(other.locator("#own-library-groups")).to_contain_text("Nothing is in it yet")


@pytest.mark.parametrize("prompt", ["a robot in the city", "a quixel butterfly in the snow"])
def test_a_picture_from_the_card_is_used_named_and_scored_also_where_the_critic_said_yes(
    page: Page, scripted: ScriptedPage, tmp_path: Path, prompt: str
) -> None:
    ask(page, prompt)
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    add = page.locator(".card.add input")
    expect(add).to_have_count(1)
    Image.new("RGB", (40, 30), "purple").save(tmp_path / "IMG 1.png")
    add.set_input_files(tmp_path / "IMG 1.png")
    first = page.locator(".candidates .card").first
    expect(first.locator("input.caption")).to_have_value("IMG 1", timeout=RUN)
    finished(page)
    expect(first.locator(".note")).to_have_text("✓ your picture")
    expect(first.locator(".score b")).not_to_have_text("1.00")
    first.locator("input.caption").fill("our new product")
    first.locator("input.caption").press("Enter")
    expect(first.locator("input.caption")).to_have_value("our new product", timeout=RUN)
    for _ in range(RUN // 50):  # until the run with the new name has begun
        (own,) = scripted.method.requests[-1].choices.own
        if own.name == "our new product.png":
            break
        page.wait_for_timeout(50)
    assert own.name == "our new product.png"
    finished(page)
    first.get_by_role("button", name="Remove").click()
    expect(page.locator(".own li")).to_have_count(0, timeout=RUN)
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    assert scripted.method.requests[-1].choices.own == ()


def test_an_upload_says_what_happens_to_it(page: Page) -> None:
    page.get_by_role("button", name="Your own pictures").click()
    expect(page.locator("#own-kept")).to_contain_text("deleted with it")
    page.get_by_role("tab", name="Library").click()
    expect(page.locator("#own-library-kept")).to_contain_text("nobody else sees them")
    assert (
        json.dumps(page.locator("#own-library-files input[type=file]").get_attribute("accept")).count(".zip")
        == 1
    )
