"""A method that the page has never heard of: its event, setting and chapter show without a change in `ragdemo/ui`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect
from pydantic import Field

from ragdemo.events import Event, Progress, Result
from ragdemo.methods import METHODS
from ragdemo.methods.base import Method, Tools
from ragdemo.methods.chapters import RESULT, Chapter
from ragdemo.methods.settings import Settings
from ragdemo.models.base import ENCODER
from ragdemo.profiles import POCKET
from ragdemo.request import Request
from ragdemo.run.base import check_request
from ragdemo.run.offers import Offer, Offers
from ragdemo.ui.blocks import Services
from ragdemo.ui.page import build_page
from ragdemo.ui.vocabulary import Vocabulary
from scripts.browser import serve, visit
from tests.scripted_page import RUN, ScriptedPage, ask

TEMPLATE = """{% set found = run.last("Heat") %}{% if found %}
{% set aside = found.values.shape | join(" × ") %}
{{ ui.shot(found.image, found.label) }}<p class="hottest">{{ found.label }}: {{ found.values.max() }}</p>
{% endif %}"""


@dataclass(frozen=True)
class Heat(Event):
    """An image and an array, as only this method has them."""

    image: Image.Image
    values: np.ndarray
    label: str


class ToySettings(Settings):
    """One setting."""

    warmth: int = Field(3, title="Warmth", ge=1, le=9)


def toy(folder: Path) -> Method:
    """The method, with its template in a folder of its own."""
    (folder / "heat.html").write_text(TEMPLATE)

    class Toy(Method):
        name = "toy"
        title = "Toy"
        sentence = "Warms a picture up."
        Settings = ToySettings
        needs = (ENCODER,)
        chapters = (
            Chapter("heat", "Where it is warm", (Heat,), folder / "heat.html", "Nothing yet.", "Warming"),
            RESULT,
        )

        def run(self, request: Request, tools: Tools, known: Sequence[Event] = ()) -> Iterator[Event]:
            warmth = request.settings.get("warmth", 3)
            yield Progress("warming", 1, 2)
            image = Image.new("RGB", (64, 64), (20 * warmth, 0, 0))
            yield Heat(image, np.full((2, 3), warmth), "<b>hot</b>")
            yield Result(image, tools.recipe(request, (), tools.searcher), 0.1)

    return Toy()


def test_a_new_method_shows_its_event_setting_and_chapter(
    browser: Browser, scripted: ScriptedPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = toy(tmp_path)
    monkeypatch.setitem(METHODS, method.name, method)
    services = Services(
        runner=scripted.runner,
        catalogue=scripted.runner.catalogue,
        offers=Offers((Offer(POCKET, (method,)),)),
        vocabulary=Vocabulary(),
        check=check_request,
    )
    with serve(build_page(services)) as address, visit(browser, address) as page:
        expect(page.locator(".chapter.heat")).to_contain_text("Nothing yet.")
        page.get_by_role("button", name="Settings").click()
        page.wait_for_timeout(500)
        page.get_by_label("Warmth").first.fill("7")
        ask(page, "a warm place")
        expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
        expect(page.locator(".hottest")).to_have_text("<b>hot</b>: 7")
        expect(page.locator(".chapter.heat .aside")).to_have_text("2 × 3")
        expect(page.locator(".chapter.heat img")).to_be_visible()
        expect(page.locator(".chapter.result img")).to_be_visible()
