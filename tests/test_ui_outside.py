"""What the page says where the models know nothing: no false yes, no wrong reference, and what can be done instead."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.scripted_page import RUN, ScriptedPage, ask


def ended(page: Page) -> None:
    """Wait for the end of a run that draws once."""
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    expect(page.locator(".chapter.result img")).to_have_count(1)


def test_a_subject_outside_the_world_is_said_and_another_prompt_offered(
    page: Page, scripted: ScriptedPage
) -> None:
    ask(page, "a penguin in the snow")
    note = page.locator(".outside")
    expect(note).to_contain_text("This world has no penguin; it knows butterflies, fish, birds,", timeout=RUN)
    ended(page)
    assert scripted.method.requests == []  # nobody was asked, and nothing was drawn again
    expect(page.locator("#story")).not_to_contain_text("yes")
    expect(page.locator(".compared")).to_have_count(0)
    expect(page.locator(".chapter.missing")).to_contain_text(
        "nobody is asked about what the models cannot know"
    )
    expect(page.locator(".gained")).to_have_count(0)
    expect(page.locator(".card:not(.add)")).to_have_count(0)
    assert page.locator(".chapter.result img").get_attribute("src") == page.locator(
        ".chapter.draft img"
    ).get_attribute("src")
    offered = note.locator("[data-ask]")
    expect(offered).to_have_count(3)
    prompt = offered.first.inner_text()
    offered.first.click()
    expect(page.locator("#prompt textarea")).to_have_value(prompt)
    expect(page.locator(".pair img")).to_have_count(2, timeout=RUN)
    expect(note).to_have_count(0)
    assert scripted.method.requests[-1].prompt == prompt


def test_symbols_and_other_languages_are_not_approved(page: Page) -> None:
    for prompt in ("🐧🐧", "eine Katze, bitte"):
        ask(page, prompt)
        expect(page.locator(".outside")).to_contain_text(
            "eine katze" if "eine" in prompt else "No thing of this world is named here", timeout=RUN
        )
        ended(page)


def test_an_unheard_name_is_offered_its_nearest_and_can_be_invented(
    page: Page, scripted: ScriptedPage
) -> None:
    ask(page, "a zorblat fish in the snow")
    note = page.locator(".outside")
    expect(note).to_contain_text("Nobody has shown me a zorblat fish.", timeout=RUN)
    ended(page)
    assert scripted.method.requests == []
    cards = page.locator(".candidates .card.other")
    expect(cards).to_have_count(4)
    expect(page.locator(".card.used")).to_have_count(0)
    for card in cards.all():
        expect(card).to_contain_text("fish")
    note.get_by_role("button", name="Invent it").click()
    field = page.locator("#invent-form input[name=name]")
    expect(field).to_have_value("zorblat")
    expect(page.locator("#invent-form [name=kind][value=fish]")).to_be_checked()
    page.get_by_role("button", name="Draw a dozen").click()
    expect(note).to_have_count(0, timeout=RUN)  # now a library knows it
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
    assert scripted.method.requests[-1].library == "yours"


def test_an_offered_picture_is_used_on_a_click(page: Page, scripted: ScriptedPage) -> None:
    ask(page, "a zorblat fish in the snow")
    ended(page)
    first = page.locator(".candidates .card.other").first
    wanted = first.locator(".caption").get_attribute("title")
    first.get_by_role("button", name="Use").click()
    expect(page.locator(".pair img")).to_have_count(2, timeout=RUN)
    assert scripted.method.requests[-1].choices.pinned == (wanted,)
    expect(page.locator(".card.used .note").first).to_have_text("✓ pinned")


def test_add_pictures_opens_the_place_for_them(page: Page) -> None:
    ask(page, "a zorblat fish in the snow")
    ended(page)
    with page.expect_file_chooser():
        page.locator(".outside").get_by_role("button", name="Add pictures").click()
