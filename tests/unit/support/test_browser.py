"""Expectations of a page wait while it changes, and no longer."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page
from support import browser
from support.browser import chromium, expect, new_page
from support.servers import OK_ESPEJO

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium(OK_ESPEJO) as found:
        yield new_page(found)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "STILL_SECONDS", 2.0)
    monkeypatch.setattr(browser, "LOOK_MILLISECONDS", 100)


def test_a_wrong_text_on_a_page_that_does_not_change_fails(page: Page) -> None:
    page.set_content("<p>wrong</p>")
    with pytest.raises(AssertionError, match=r"(?s)to_have_text \('right',\).*wrong"):
        expect(page.locator("p")).to_have_text("right")


def test_a_page_that_goes_on_changing_is_waited_for(page: Page) -> None:
    page.set_content("<p>0</p>")
    page.evaluate("setInterval(() => document.querySelector('p').textContent++, 1000)")
    expect(page.locator("p")).to_have_text("6")
