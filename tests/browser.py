"""Pages in headless Chromium, through Playwright: ``with opened(browser, url) as (page, complaints)``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# root has no sandbox, a container little shared memory, and a test no graphics card
_FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
_TIMEOUT = 10_000  # milliseconds


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Start headless Chromium, the system's or Playwright's own; skip the test where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        program = next(filter(None, map(shutil.which, _CHROMIUM)), str(own) if own.is_file() else None)
        if program is None:
            pytest.skip("needs Chromium: apt install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, width: int = 1280, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """Open ``url`` in a window so many pixels wide, and yield the page and what goes wrong in it as it happens.

    That is: what the console reports as an error or a warning, exceptions, requests that fail or leave this machine.
    ``options`` are those of Playwright's ``new_context``, as ``color_scheme="dark"``.
    """
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    context.set_default_timeout(_TIMEOUT)
    page, complaints = context.new_page(), []
    page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("request", lambda request: None if _is_local(request.url) else complaints.append(f"asked: {request.url}"))
    page.goto(url)
    yield page, complaints
    context.close()


def _is_local(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:", "http://localhost:"))


def wait_for_count(locator: Any, count: int) -> None:
    """Wait until so many elements are there; without code in the page, which its security policy would refuse."""
    from playwright.sync_api import expect

    expect(locator).to_have_count(count)


def wait_for_text(locator: Any, text: str) -> None:
    """Wait until the element holds ``text``."""
    from playwright.sync_api import expect

    expect(locator).to_contain_text(text)
