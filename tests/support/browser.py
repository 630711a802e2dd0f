"""A real Chromium whose microphone hears a file."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.servers import HANGS

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSECURE = "espejo.test"
"""A name of this machine whose pages are no secure context, as those of a host without https are."""
expect.set_options(timeout=HANGS * 1000)


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
            executable_path=program, args=arguments, chromium_sandbox=os.geteuid() != 0, timeout=HANGS * 1000
        )
        yield browser
        browser.close()


def new_page(browser: Browser, *, locale: str = "en-GB", scheme: str = "light", width: int = 1200) -> Page:
    """Return a page with a profile of its own."""
    context = browser.new_context(
        locale=locale, color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}
    )
    context.set_default_timeout(HANGS * 1000)
    return context.new_page()
