"""What an address carries of a request, and what the page makes of an address."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from ragdemo.errors import UserError
from ragdemo.library.catalogue import Catalogue
from ragdemo.library.session import SessionLibrary
from ragdemo.library.store import write_library
from ragdemo.request import MAX_CHOICES, Choices, ImageRef, Request
from ragdemo.ui.explore import Explore
from ragdemo.ui.line import Lines
from ragdemo.ui.link import LONGEST, fields_of, link_to, request_of
from ragdemo.ui.style import quiet_options
from tests.library_world import new_images
from tests.scripted_page import RECORDED, RUN, ScriptedPage, ask, finished

REFERENCES = tuple(f"quixel-butterfly-train-{number}" for number in range(3))


def test_a_link_asks_for_all_of_a_request_but_ones_own_pictures() -> None:
    own = ImageRef(sha256="1" * 64, name="mine.png")
    chosen = Choices(pinned=("lib/ü&1",), rejected=("lib/2", "lib/3"), own=(own,))
    request = Request(
        prompt="a+b 蝶 & c", seed=3, library="mine", settings={"steps": 8, "hybrid": None}, choices=chosen
    )
    address = dict(parse_qsl(link_to(request)[1:])) | {"__theme": "dark"}
    assert request_of(fields_of(address), {}) == request.changed(choices=chosen.changed(own=()))


def test_a_link_is_never_longer_than_servers_take() -> None:
    many = Choices(rejected=tuple(f"{number}{'x' * 60}" for number in range(MAX_CHOICES)))
    link = link_to(Request(prompt="🦋" * 500, settings={"steps": 8}, choices=many))
    assert len(link) <= LONGEST
    assert "settings" in link
    with pytest.raises(UserError, match="shorten it to 8,000"):
        request_of({"prompt": "a fox", "settings": " " * LONGEST}, {})


def test_a_link_restores_settings_and_choices(page: Page, scripted: ScriptedPage) -> None:
    choices = Choices(pinned=REFERENCES[:1], rejected=REFERENCES[1:])
    wanted = Request(
        prompt="a quixel butterfly in the snow",
        method="scripted",
        seed=9,
        settings={"max_rounds": 3},
        choices=choices,
    )
    page.goto(scripted.address + link_to(wanted))
    expect(page.locator("#seed input")).to_have_value("9")
    finished(page)  # by itself
    assert scripted.method.requests == [wanted]
    expect(page.locator(".card.used .note")).to_have_text("✓ pinned")
    page.locator(".card.used").get_by_role("button", name="Unpin").click()
    expect(page.locator(".card.used .note")).to_have_text("✓ used", timeout=RUN)
    expect(page.locator("#stop")).to_be_hidden()
    page.reload()  # the address follows what is chosen
    expect(page.locator("#seed input")).to_have_value("9")
    finished(page)
    assert scripted.method.requests[-1] == wanted.changed(choices=choices.changed(pinned=()))


def test_a_link_restores_the_library(scripted: ScriptedPage, tmp_path: Path) -> None:
    write_library(tmp_path / "mine", "mine", new_images(1))
    with gr.Blocks():
        pill = gr.HTML()
        services = replace(scripted.services, catalogue=Catalogue(tmp_path))
        explore = Explore(services, pill, gr.State(SessionLibrary()), quiet_options(pill), Lines())
    ask, story = explore.blocks.ask, explore.blocks.story
    wanted = Request(
        prompt="a fox", method="scripted", library="mine", choices=Choices(pinned=("image-000",))
    )
    shown = explore.open_link(gr.Request(query_params=dict(parse_qsl(link_to(wanted)[1:]))))
    assert shown[ask.library] == "mine"
    assert shown[story].request == wanted
    assert shown[ask.actions]["phase"] == "opened"  # and the browser asks for it


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("seed", "-1", "The seed '-1' is out of range"),
        ("seed", "9" * 5000, "is out of range"),
        ("settings", "{", "The settings are no JSON object"),
        ("settings", "[" * 7000, "The settings are no JSON object"),
        ("settings", '{"steps": %s}' % ("1" * 5000), "The settings are no JSON object"),
        ("settings", '{"steps": NaN}', "is nan; input should be a finite number"),
        ("choices", '{"rejected": 3}', "The rejected of the choices is 3"),
        ("choices", '{"own": [{"sha256": "%s", "name": "a"}]}' % ("1" * 64), "add them on the page"),
    ],
)
def test_a_field_that_cannot_be_is_named(field: str, value: str, sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        request_of({"prompt": "a fox", field: value}, {})
    assert sentence in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"method": "x" * 3000}, "There is no method 'xxx"),
        ({"seed": "4294967296"}, "The seed 4294967296 is out of range"),
        ({"library": "/etc"}, "There is no library '/etc'; choose one of pocket"),
        ({"settings": json.dumps({"x" * 5000: 1})}, "has no setting 'xxx"),
        ({"choices": '{"pinned": ["nowhere"]}'}, "has no image 'nowhere'"),
        ({"prompt": "x" * 700}, "shorten it to 500"),
    ],
)
def test_what_an_address_cannot_ask_for_is_one_sentence(
    page: Page, scripted: ScriptedPage, fields: dict[str, str], sentence: str
) -> None:
    asked = {"prompt": "a robot in the city"} | fields
    page.goto(f"{scripted.address}?{urlencode(asked)}")
    expect(page.get_by_role("alert")).to_contain_text("Only the prompt of this link is used: ")
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    assert len(page.get_by_role("alert").inner_text()) < 500
    expect(page.locator("#prompt textarea")).to_have_value(asked["prompt"])
    expect(page.locator("#method input:checked")).to_have_value("scripted")
    ask(page, "a robot in the city")
    expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": "6"},
        {"method": "realrag"},
        {"settings": '{"max_rounds":3}'},
        {"choices": json.dumps({"rejected": REFERENCES[:1]})},
    ],
)
def test_only_exactly_what_was_recorded_is_said_to_be(
    page: Page, scripted: ScriptedPage, fields: dict[str, str]
) -> None:
    page.goto(f"{scripted.address}?{urlencode({'prompt': RECORDED})}")  # of any seed and method
    expect(page.locator("#seed input")).to_have_value("5")
    expect(page.locator("#announcement")).to_contain_text("Recorded earlier")
    page.goto(f"{scripted.address}?{urlencode({'prompt': RECORDED, 'seed': '5'} | fields)}")
    finished(page)  # drawn anew
    expect(page.locator(".chapter.draft .aside")).not_to_have_text("recorded")


def test_another_spelling_is_another_prompt(page: Page, scripted: ScriptedPage) -> None:
    page.goto(f"{scripted.address}?{urlencode({'prompt': RECORDED.upper(), 'seed': '5'})}")
    expect(page.locator("#prompt textarea")).to_have_value(RECORDED.upper())
    finished(page)
    assert scripted.method.requests[-1].prompt == RECORDED.upper()


def test_a_link_says_what_cannot_travel(page: Page, scripted: ScriptedPage) -> None:
    own = Choices(own=(ImageRef(sha256="1" * 64, name="mine.png"),))
    wanted = Request(prompt="a quixel butterfly in the snow", method="scripted", seed=9, choices=own)
    page.goto(scripted.address + link_to(wanted))
    finished(page)
    assert scripted.method.requests[-1] == wanted.changed(choices=Choices())
    expect(page.locator(".chapter.result .warning")).to_contain_text(
        "The link's run used 1 of its maker's own"
    )
