"""What every test shares: no network, no reports, a cache of its own, and no GPU test without a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.scripted_page import ScriptedPage

# Set before a test imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("GRADIO_SSR_MODE", "false")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--whole`: tests marked `figures` measure their whole sample."""
    parser.addoption("--whole", action="store_true", help="measure the whole sample in tests marked figures")


@pytest.fixture(scope="session")
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether figures are measured on their whole sample, as `make figures` does; else on a small one."""
    return request.config.getoption("--whole")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch  # only here: collecting the other tests should not wait for it

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh `$RAGDEMO_CACHE`, so that no test sees what another, or the person's own page, has made."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("RAGDEMO_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The one Chromium of all tests; each visitor gets a context of its own."""
    from playwright.sync_api import expect  # only here: most tests need no browser

    from scripts.browser import chromium

    # a busy machine is slow and not broken: five seconds, the default, are few beside a training run
    expect.set_options(timeout=30_000)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def scripted() -> Iterator[ScriptedPage]:
    """A page in this process whose first method is scripted; the others, library and models are real."""
    from tests.scripted_page import scripted_page

    with scripted_page() as page:
        yield page


@pytest.fixture
def page(browser: Browser, scripted: ScriptedPage) -> Iterator[Page]:
    """A fresh visitor of the scripted page."""
    from scripts.browser import visit

    scripted.reset()
    with visit(browser, scripted.address) as opened:
        yield opened
