"""Chromium and a served page, for tests and measurements that look at what a visitor sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from playwright.sync_api import Browser, Page, sync_playwright

from ragdemo.ui.style import launch_options

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def serve(demo: gr.Blocks) -> Iterator[str]:
    """The address of `demo` while it is served."""
    _, address, _ = demo.launch(
        prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False, **launch_options()
    )
    try:
        yield address
    finally:
        demo.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without visitors; a missing Chromium is an error, never a reason to skip."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Browser, address: str, width: int = 1440, height: int = 900, dark: bool = False
) -> Iterator[Page]:
    """A fresh visitor's page on `address`."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    try:
        page = context.new_page()
        page.goto(address)
        page.locator("#run").wait_for(timeout=60_000)
        yield page
    finally:
        context.close()
