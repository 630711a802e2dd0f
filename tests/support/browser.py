"""A real Chromium whose microphone hears a file."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, sync_playwright
from playwright.sync_api import expect as expect_at_once  # noqa: TID251

from support import waiting

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSECURE = "espejo.test"
"""A name of this machine whose pages are no secure context, as those of a host without https are."""
STILL_SECONDS = 60.0
"""Time without a change of the page after which an expectation fails."""
LOOK_MILLISECONDS = 2000
ACTION_MILLISECONDS = waiting.STALLED_SECONDS * 1000
"""Time limit of what cannot be observed: the start of Chromium, a navigation, a click on what is not there yet."""


def expect(locator: Locator) -> "_Patient":
    """Return Playwright's assertions on a locator, each of which waits as long as the page goes on changing."""
    return _Patient(locator)


class _Patient:
    def __init__(self, locator: Locator) -> None:
        self._locator = locator

    def __getattr__(self, name: str) -> Callable[..., None]:
        assertion = getattr(expect_at_once(self._locator), name)

        def wait(*wanted: Any, **options: Any) -> None:
            found = ""

            def look() -> bool:
                nonlocal found
                try:
                    assertion(*wanted, **options, timeout=LOOK_MILLISECONDS)
                except AssertionError as error:
                    found = str(error)
                    return False
                return True

            page = self._locator.page
            what, explain = f"{name} {wanted}", lambda: found
            waiting.until(look, what, moved=page.content, explain=explain, stalled=STILL_SECONDS, every=0)

        return wait


@contextmanager
def chromium(microphone: Path) -> Iterator[Browser]:
    """Start a Chromium whose microphone hears the recording once, and then silence.

    While it runs, this thread cannot run another event loop: use it in fixtures of a module.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium (make browser does it for root)")
    arguments = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
        f"--host-resolver-rules=MAP {INSECURE} 127.0.0.1",
        "--disable-dev-shm-usage",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=arguments, chromium_sandbox=os.geteuid() != 0, timeout=ACTION_MILLISECONDS
        )
        yield browser
        browser.close()


def new_page(browser: Browser, *, locale: str = "en-GB", scheme: str = "light", width: int = 1200) -> Page:
    """Return a page with a profile of its own."""
    context = browser.new_context(
        locale=locale, color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}
    )
    context.set_default_timeout(ACTION_MILLISECONDS)
    return context.new_page()


@contextmanager
def watched(browser: Browser, url: str) -> Iterator[Page]:
    """Give a page in English with a profile of its own. Afterwards its scripts must have had no error."""
    page = new_page(browser)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    yield page
    page.context.close()
    assert errors == []


_FOLLOW = """(element, attribute) => {
    element.following?.disconnect();
    let last = element.getAttribute(attribute);
    element.dataset.changes = "";
    element.following = new MutationObserver(() => {
        const value = element.getAttribute(attribute);
        if (value !== last) element.dataset.changes += ` ${value}`;
        last = value;
    });
    element.following.observe(element, { attributeFilter: [attribute] });
}"""


def follow(locator: Locator, attribute: str) -> Callable[[str], None]:
    """Return an expectation of the values that an attribute takes from now on: a pattern of all of them, each with a space
    before it, "null" without a value. A value counts also if it has gone again before anybody looks.
    """
    locator.evaluate(_FOLLOW, attribute)
    return lambda pattern: expect(locator).to_have_attribute("data-changes", re.compile(pattern))


@contextmanager
def answered(page: Page, address: str) -> Iterator[None]:
    """Afterwards, the page has handled the answer to a request that is let go inside."""
    with page.expect_response(address) as response:
        yield
    response.value.finished()
    page.evaluate("() => new Promise((done) => setTimeout(done))")


def remove_from_answers(page: Page, address: str, field: str) -> None:
    """From now on, the answers from an address to a page lack a field, as those of an older server do in an upgrade."""

    def answer(route: Route) -> None:
        response = route.fetch()
        content = response.json()
        del content[field]
        route.fulfill(response=response, json=content)

    page.route(address, answer)


class Held:
    """The requests of a page to an address, from now on. Each waits until it is continued or answered."""

    def __init__(self, page: Page, address: str, method: str = "GET") -> None:
        self._page, self._method = page, method
        self._routes: list[Route] = []
        page.route(address, lambda route: self._hold(route))

    def _hold(self, route: Route) -> None:
        if route.request.method == self._method:
            self._routes.append(route)
        else:
            route.continue_()

    def until(self, count: int = 1) -> Route:
        """Wait for as many requests, and return the last of them."""

        def look() -> bool:
            self._page.title()  # Playwright takes requests during calls of the page
            return len(self._routes) >= count

        waiting.until(look, f"{count} requests of the page are held")
        return self._routes[count - 1]
