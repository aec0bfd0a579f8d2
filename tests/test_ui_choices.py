"""What a visitor may choose: references, pictures of one's own, counterfactuals, and a saved picture opened again."""

from __future__ import annotations

import base64
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from ragdemo.images import encode_png, image_sha256, read_image
from ragdemo.recipe import png_with_recipe
from ragdemo.request import Request
from tests.scripted_page import RUN, ScriptedPage, ask, drawing, finished


def test_a_rejected_reference_is_replaced_and_the_draft_is_not_drawn_again(
    page: Page, scripted: ScriptedPage
) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    draft = page.locator(".chapter.draft img").get_attribute("src")
    before = page.locator(".chapter.result img").get_attribute("src")
    cards = page.locator(".candidates .card")
    rejected = cards.first.locator(".caption").get_attribute("title")
    cards.first.get_by_role("button", name="Reject").press("Enter")
    expect(page.locator(".turned-down")).to_contain_text("1 turned down", timeout=RUN)
    finished(page)
    assert scripted.method.requests[-1].choices.rejected == (rejected,)
    assert cards.first.locator(".caption").get_attribute("title") != rejected
    assert page.locator(".chapter.draft img").get_attribute("src") == draft
    # another candidate is used in its place, on a click
    wanted = cards.nth(2).locator(".caption").get_attribute("title")
    assert wanted is not None
    cards.nth(2).get_by_role("button", name="Use").click()
    expect(cards.first.locator(".caption")).to_have_attribute("title", wanted, timeout=RUN)
    finished(page)
    assert page.locator(".chapter.result img").get_attribute("src") != before
    expect(cards.first.locator(".note")).to_have_text("✓ pinned")
    # what was chosen for a prompt holds for the next run of it
    asked = len(scripted.method.requests)
    page.locator("#run").click()
    page.wait_for_timeout(300)
    finished(page)
    assert len(scripted.method.requests) == asked + 1
    assert scripted.method.requests[-1].choices.rejected == (rejected,)
    page.get_by_role("button", name="take back").click()
    expect(page.locator(".turned-down")).to_have_count(0, timeout=RUN)
    finished(page)
    assert scripted.method.requests[-1].choices.rejected == ()


def test_the_focus_stays_with_the_references(page: Page) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    cards = page.locator(".candidates .card")

    cards.first.get_by_role("button", name="Reject").press("Enter")
    expect(page.locator(".turned-down")).to_contain_text("1 turned down", timeout=RUN)
    finished(page)
    expect(cards.first.get_by_role("button", name="Reject")).to_be_focused()
    cards.nth(2).get_by_role("button", name="Use").press("Enter")  # which makes it the first
    expect(cards.first.locator(".note")).to_have_text("✓ pinned", timeout=RUN)
    finished(page)
    expect(cards.first.get_by_role("button", name="Unpin")).to_be_focused()
    page.keyboard.press("Enter")
    expect(cards.first.get_by_role("button", name="Pin")).to_be_focused()
    finished(page)
    page.get_by_role("button", name="take back").press("Enter")
    page.locator("#prompt textarea").focus()  # who is elsewhere stays there
    expect(page.locator(".turned-down")).to_have_count(0, timeout=RUN)
    finished(page)
    expect(page.locator("#prompt textarea")).to_be_focused()


def test_pictures_of_ones_own_join_the_references_and_leave_them(
    page: Page, scripted: ScriptedPage, tmp_path: Path
) -> None:
    file = tmp_path / "my butterfly.png"
    Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(file)  # transparent black: white on the page
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    page.get_by_role("button", name="Your own pictures").click()
    page.locator("#own input[type=file]").set_input_files(file)
    first = page.locator(".candidates .card").first
    expect(first.locator("input.caption")).to_have_value("my butterfly", timeout=RUN)
    finished(page)
    expect(page.locator(".chapter.reference .aside")).to_have_text("your picture")
    (own,) = scripted.method.requests[-1].choices.own
    assert (own.sha256, own.name) == (image_sha256(read_image(file)), "my butterfly.png")
    assert own.sha256 == image_sha256(Image.new("RGB", (40, 30), "white"))
    expect(page.locator(".own li")).to_have_count(1)
    asked = len(scripted.method.requests)
    page.locator("#run").click()
    page.wait_for_timeout(300)
    finished(page)
    assert len(scripted.method.requests) == asked + 1
    assert scripted.method.requests[-1].choices.own == (own,)
    page.get_by_role("button", name="Remove: my butterfly.png").click()
    expect(page.locator(".own li")).to_have_count(0, timeout=RUN)
    finished(page)
    assert scripted.method.requests[-1].choices.own == ()


COPY = """async (png) => navigator.clipboard.write([new ClipboardItem({"image/png":
  new Blob([Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0))], {type: "image/png"})})])"""


def test_a_pasted_picture_is_one_of_ones_own(page: Page, scripted: ScriptedPage) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    picture = Image.new("RGB", (40, 30), "purple")
    page.evaluate(COPY, base64.b64encode(encode_png(picture)).decode())
    page.get_by_role("tab", name="Library").click()
    page.keyboard.press("Control+V")  # there it would go unseen
    page.get_by_role("tab", name="Explore").click()
    page.locator("#prompt textarea").focus()
    page.keyboard.press("Control+V")
    expect(page.locator(".own li")).to_be_visible()
    expect(page.locator(".chapter.reference .aside")).to_have_text("your picture", timeout=RUN)
    finished(page)
    (own,) = scripted.method.requests[-1].choices.own
    assert own.sha256 == image_sha256(picture)
    # a text is pasted as ever
    page.evaluate("navigator.clipboard.writeText('a dunis fish')")
    page.locator("#prompt textarea").select_text()
    page.keyboard.press("Control+V")
    expect(page.locator("#prompt textarea")).to_have_value("a dunis fish")
    expect(page.locator(".own li")).to_have_count(1)
    assert errors == []


def test_what_is_uploaded_during_a_run_is_neither_lost_nor_mixed_into_it(
    page: Page, scripted: ScriptedPage, tmp_path: Path
) -> None:
    saved = saved_picture(scripted, tmp_path / "saved.png")
    Image.new("RGB", (40, 30), "purple").save(tmp_path / "mine.png")
    ask(page, "draw a fish forever")
    drawing(page)
    page.get_by_role("button", name="Your own pictures").click()
    page.locator("#own input[type=file]").set_input_files(tmp_path / "mine.png")
    expect(page.locator(".own li")).to_have_count(1)
    page.get_by_role("button", name="Open a saved picture").click()
    page.locator("#saved input[type=file]").set_input_files(saved)
    expect(page.locator("#announcement")).to_contain_text("A run goes on")
    expect(page.locator("#prompt textarea")).to_have_value("draw a fish forever")
    page.locator("#stop").click()
    expect(page.locator("#announcement")).to_have_text("Stopped.", timeout=RUN)
    expect(page.locator(".own li")).to_have_count(1)
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    assert [ref.name for ref in scripted.method.requests[-1].choices.own] == ["mine.png"]


def test_two_own_pictures_of_one_name_stay_two(page: Page, scripted: ScriptedPage, tmp_path: Path) -> None:
    page.get_by_role("button", name="Your own pictures").click()
    for number, colour in enumerate(("purple", "orange"), 1):
        (tmp_path / colour).mkdir()
        Image.new("RGB", (40, 30), colour).save(tmp_path / colour / "mine.png")
        page.locator("#own input[type=file]").set_input_files(tmp_path / colour / "mine.png")
        expect(page.locator(".own li")).to_have_count(number if number == 1 else 2, timeout=RUN)
        expect(page.locator("#stop")).to_be_hidden()
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    assert len({own.sha256 for own in scripted.method.requests[-1].choices.own}) == 2
    expect(page.locator(".candidates .card.used")).to_have_count(2)


def test_a_broken_picture_is_a_sentence_and_leaves_the_run_as_it_is(
    page: Page, scripted: ScriptedPage, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    asked = len(scripted.method.requests)
    page.get_by_role("button", name="Your own pictures").click()
    page.locator("#own input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(page.get_by_role("alert")).to_contain_text("broken.png cannot be read")
    expect(page.locator(".pair img")).to_have_count(2)
    expect(page.locator(".candidates .card").first.get_by_role("button", name="Reject")).to_be_visible()
    assert len(scripted.method.requests) == asked


def test_counterfactuals_ask_whether_it_was_the_retrieval(page: Page) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    page.get_by_role("button", name="Check it").click()
    figures = page.locator(".counterfactuals figure")
    expect(figures).to_have_count(7, timeout=RUN)
    titles = ("The result", "Another reference", "In words alone", *(f"Seed {seed}" for seed in range(6, 10)))
    for place, title in enumerate(titles):
        expect(figures.nth(place)).to_contain_text(title)
        expect(figures.nth(place).locator(".checklist")).to_contain_text("colours")
    finished(page)
    pictures = [img.get_attribute("src") for img in page.locator(".counterfactuals img").all()]
    assert len(set(pictures)) == 7


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
    expect(page.locator(".counterfactuals figure")).to_have_count(7, timeout=RUN)
    finished(page)
    assert page.evaluate("document.querySelector('.wipe').style.getPropertyValue('--at')") == "80%"
    assert slider.input_value() == "80"


def test_a_counterfactual_that_breaks_is_a_sentence_and_keeps_the_run(
    page: Page, scripted: ScriptedPage
) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    scripted.runner.broken = KeyError("nobody foresaw this")
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_role("alert")).to_contain_text("The page is fine", timeout=RUN)
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator(".candidates").get_by_role("button", name="Reject")).to_have_count(4)
    expect(page.locator(".counterfactuals figure")).to_have_count(2)  # the result, and what was drawn before


def test_stop_ends_the_counterfactuals_and_keeps_the_run(page: Page) -> None:
    ask(page, "a quixel butterfly in the snow")
    finished(page)
    page.get_by_role("button", name="Check it").click()
    expect(page.locator(".counterfactuals figure")).not_to_have_count(0, timeout=RUN)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#announcement")).to_contain_text("Stopped", timeout=RUN)
    expect(page.locator(".candidates").get_by_role("button", name="Reject")).to_have_count(4)
    assert page.locator(".counterfactuals figure").count() < 7


def test_a_saved_picture_restores_everything_and_draws_again(
    page: Page, scripted: ScriptedPage, tmp_path: Path
) -> None:
    page.locator("#seed input").fill("123")
    page.get_by_role("button", name="Settings").click()
    page.wait_for_timeout(500)  # Gradio fills what was folded away a moment after it shows it
    page.get_by_label("Rounds at most").first.fill("3")
    ask(page, "a quixel butterfly in the desert")
    finished(page)
    page.locator(".candidates .card").first.get_by_role("button", name="Reject").click()
    expect(page.locator(".turned-down")).to_contain_text("1 turned down", timeout=RUN)
    finished(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download with recipe").click()
    saved.value.save_as(tmp_path / "saved.png")
    picture = page.locator(".chapter.result img").get_attribute("src")
    wanted = scripted.method.requests[-1]
    open_saved(page, scripted, tmp_path / "saved.png")
    finished(page)
    expect(page.locator("#prompt textarea")).to_have_value("a quixel butterfly in the desert")
    expect(page.locator("#seed input")).to_have_value("123")
    assert wanted.settings == {"max_rounds": 3}
    assert len(wanted.choices.rejected) == 1
    assert scripted.method.requests[-1] == wanted
    assert page.locator(".chapter.result img").get_attribute("src") == picture
    expect(page.locator(".warning")).to_have_count(0)
    asked = len(scripted.method.requests)
    page.locator("#run").click()  # keeps what the page has no control for
    page.wait_for_timeout(300)
    finished(page)
    assert len(scripted.method.requests) == asked + 1
    assert scripted.method.requests[-1] == wanted


def open_saved(page: Page, scripted: ScriptedPage, file: Path) -> None:
    page.goto(scripted.address)
    page.locator("#run").wait_for()
    page.get_by_role("button", name="Open a saved picture").click()
    page.locator("#saved input[type=file]").set_input_files(file)


def saved_picture(scripted: ScriptedPage, path: Path, **changed: object) -> Path:
    """A picture of the recorded run whose recipe says something else."""
    from dataclasses import replace

    result = scripted.recording[-1]
    recipe = replace(result.recipe, **changed)  # type: ignore[attr-defined]
    path.write_bytes(png_with_recipe(result.image, recipe))  # type: ignore[attr-defined]
    return path


def test_a_picture_from_another_state_of_the_library_says_so(
    page: Page, scripted: ScriptedPage, tmp_path: Path
) -> None:
    open_saved(page, scripted, saved_picture(scripted, tmp_path / "old.png", library_fingerprint="0" * 64))
    finished(page)
    expect(page.locator(".warning")).to_contain_text("The library has changed since the picture was saved")


def test_a_picture_asks_for_what_it_used_of_ones_own(
    page: Page, scripted: ScriptedPage, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 30), "purple").save(tmp_path / "mine.png")
    own = {"sha256": image_sha256(read_image(tmp_path / "mine.png")), "name": "then called so.png"}
    request = Request.from_json(
        {"prompt": "a quixel butterfly", "method": "scripted", "choices": {"own": [own]}}
    )
    file = saved_picture(scripted, tmp_path / "old.png", request=request)
    open_saved(page, scripted, file)
    expect(page.get_by_role("alert")).to_contain_text("used then called so.png of yours; add that first")
    page.get_by_role("button", name="Your own pictures").click()
    page.locator("#own input[type=file]").set_input_files(tmp_path / "mine.png")
    expect(page.locator(".own li")).to_have_count(1)
    finished(page)  # it has joined the references of the example that is shown
    page.locator("#saved input[type=file]").set_input_files(file)
    expect(page.locator("#prompt textarea")).to_have_value("a quixel butterfly")
    finished(page)
    assert [ref.sha256 for ref in scripted.method.requests[-1].choices.own] == [own["sha256"]]


def test_a_picture_without_a_recipe_is_a_sentence(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "plain.png")
    page.get_by_role("button", name="Open a saved picture").click()
    page.locator("#saved input[type=file]").set_input_files(tmp_path / "plain.png")
    expect(page.get_by_role("alert")).to_contain_text("plain.png carries no recipe")
    page.wait_for_timeout(1000)
    expect(page.get_by_role("alert")).to_contain_text("carries no recipe")  # and nothing comes after it
    expect(page.locator("#row .chapter h2")).to_have_count(4)
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
