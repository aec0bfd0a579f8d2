"""The page with the pocket models behind it, from the first visit to the corrected picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from ragdemo.recipe import read_png
from tests.browser import open_page, serve

pytestmark = pytest.mark.slow
LOADING = 180_000  # milliseconds
RUN = 300_000


def test_the_pocket_models_tell_a_whole_run(tmp_path: Path) -> None:
    import app

    app.backend.warm_up()
    with serve(app.demo) as url, open_page(url) as page:
        expect(page.locator("#pill")).to_contain_text("ready", timeout=LOADING)
        page.locator("#prompt textarea").fill("a quixel butterfly in the snow")
        page.locator("#prompt textarea").press("Control+Enter")
        expect(page.locator(".chapter.draft img")).to_be_visible(timeout=RUN)
        expect(page.locator("#announcement")).to_have_text("Done.", timeout=RUN)
        expect(page.locator(".chapter.missing blockquote").first).to_be_visible()
        with page.expect_download() as saved:
            page.get_by_role("button", name="Download with recipe").click()
        saved.value.save_as(tmp_path / "result.png")
        assert read_png(tmp_path / "result.png").request.prompt == "a quixel butterfly in the snow"
        page.get_by_role("tab", name="Library").click()
        expect(page.locator("#library-cards .card")).to_have_count(24)
        search = page.locator("#library-query").get_by_role("textbox")
        search.fill("a quixel butterfly")
        search.press("Enter")
        expect(page.locator("#library-summary")).to_contain_text("nearest to", timeout=RUN)
        expect(page.locator("#library-cards .card").first).to_contain_text("butterfly")
