"""The page /misheard in a real Chromium: clips are played, turned into takes and deleted."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from speechmodel_api.takes import TAKES, Take
from speechmodel_inference.misheard import inbox_folder
from support.browser import Held, answered, expect, follow, new_page, remove_from_answers, watched
from support.places import FIXTURES
from support.servers import OK_ESPEJO, PHRASES, Server, VersionFolder

pytestmark = pytest.mark.slow

HOLA = FIXTURES / "clips" / "shapes_3c59dc04_2_3_000000_2_001.wav"
"""hola espejo, which is not in the grammar"""
INBOX = inbox_folder("espejo")


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """A server with a grammar that keeps everything as misheard, in `dataset` beside its log."""
    base = tmp_path_factory.mktemp("misheard-page")
    (base / "dataset").mkdir()
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar(*PHRASES, quien=("hija", "hijo", "nuera"))
    settings = {"takes": str(base / "dataset"), "misheard_days": "3", "misheard_below": "1"}
    with Server(folder.path, base / "server.log", settings) as server:
        yield server.until_ready()


@pytest.fixture
def page(browser: Browser, inbox: Server) -> Iterator[Page]:
    """The page in English with two clips: an answer, and above it a rejected one."""
    fill(inbox)
    with watched(browser, f"{inbox.url}/misheard") as page:
        expect(page.locator("#clips > li")).to_have_count(2)
        yield page
    for name in (INBOX, TAKES):
        shutil.rmtree(dataset(inbox) / name, ignore_errors=True)


def dataset(server: Server) -> Path:
    return server.log.parent / "dataset"


def fill(server: Server) -> None:
    """Put two clips into the inbox. The order of clips of the same second is not known, so the first is an hour old."""
    server.transcribe(OK_ESPEJO)
    server.until(lambda: len(ids(server)) == 1, "the first clip is kept")
    earlier = datetime.now(UTC) - timedelta(hours=1)
    for path in (dataset(server) / INBOX).iterdir():
        path.rename(path.with_name(f"{earlier:%Y%m%d-%H%M%S}-000000{path.suffix}"))
    server.transcribe(HOLA)
    server.until(lambda: len(ids(server)) == 2, "the second clip is kept")


def ids(server: Server) -> list[str]:
    return [clip["id"] for clip in server.get("/v1/misheard").json()["clips"]]


def introduce(page: Page) -> None:
    page.get_by_label("Name").fill("Ana")
    page.get_by_role("checkbox").check()


def test_clips_are_listed_with_what_was_heard_and_played(page: Page) -> None:
    expect(page.locator("#status")).to_have_text("Clips to look at: 2.")
    expect(page.locator("#clips .what")).to_have_text(["No answer", re.compile(r"^ok espejo, \d+% sure$")])
    button = page.get_by_role("button", name="Play the clip of").first
    expect_pressed = follow(button, "aria-pressed")
    button.click()
    expect_pressed("^ true false$")  # at its end


def test_an_answer_is_confirmed_and_a_rejected_clip_is_corrected(page: Page, inbox: Server) -> None:
    save = page.get_by_role("button", name="Save take")
    expect(save.last).to_be_disabled()
    introduce(page)
    save.last.click()
    expect(page.locator("#status")).to_have_text("Saved as a take of Ana: ok espejo. Clips to look at: 1.")
    expect(page.get_by_role("button", name="Play the clip of")).to_be_focused()
    page.get_by_label("What was said").fill("hola espejo")
    page.get_by_label("What was said").press("Enter")
    expect(page.locator("#status")).to_have_text("Saved as a take of Ana: hola espejo. Nothing to look at.")
    takes = [Take.model_validate_json(path.read_bytes()) for path in dataset(inbox).glob("takes/Ana/*.json")]
    assert {take.text for take in takes} == {"ok espejo", "hola espejo"}
    assert ids(inbox) == []


def test_a_clip_is_saved_by_an_older_server_too(page: Page) -> None:
    introduce(page)
    remove_from_answers(page, "**/v1/misheard/*/take", "new_letters")
    page.get_by_role("button", name="Save take").last.click()
    expect(page.locator("#status")).to_have_text("Saved as a take of Ana: ok espejo. Clips to look at: 1.")


def test_the_closest_phrase_can_be_chosen(page: Page) -> None:
    page.get_by_role("group", name="Closest phrases").get_by_role("button").first.click()
    expect(page.get_by_label("What was said").first).to_have_value("ok espejo")


def test_another_name_needs_a_consent_of_its_own(page: Page) -> None:
    introduce(page)
    page.get_by_label("Name").fill("Luz")
    expect(page.get_by_role("checkbox")).not_to_be_checked()
    expect(page.get_by_role("button", name="Save take").first).to_be_disabled()


def test_a_clip_that_somebody_else_confirmed_is_said_to_be_gone(page: Page, inbox: Server) -> None:
    inbox.client.delete(f"/v1/misheard/{ids(inbox)[0]}")
    page.get_by_role("button", name="Delete", exact=True).first.click()
    expect(page.locator("#status")).to_have_text("This clip is no longer there. Clips to look at: 1.")


def test_one_clip_is_deleted_and_all_of_them_once_asked(page: Page, inbox: Server) -> None:
    page.get_by_role("button", name="Delete", exact=True).first.click()
    expect(page.locator("#status")).to_have_text("Deleted. Clips to look at: 1.")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete all clips").click()
    assert len(ids(inbox)) == 1
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete all clips").click()
    expect(page.locator("#status")).to_have_text("Deleted clips: 1. Nothing to look at.")
    assert ids(inbox) == []


def test_nothing_else_is_done_while_all_clips_are_deleted(page: Page, inbox: Server) -> None:
    introduce(page)
    held = Held(page, "**/v1/misheard", "DELETE")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete all clips").click()
    deletion = held.until()
    page.get_by_role("button", name="Save take").last.click()
    page.get_by_role("button", name="Delete", exact=True).first.click()
    with answered(page, "**/v1/misheard"):
        deletion.continue_()
    expect(page.locator("#status")).to_have_text("Deleted clips: 2. Nothing to look at.")
    assert "POST" not in sent and sent.count("DELETE") == 1
    assert ids(inbox) == []
    assert not (dataset(inbox) / "takes").exists()


def test_the_first_page_leads_to_it_and_says_what_is_kept(page: Page, inbox: Server) -> None:
    page.goto(inbox.url)
    expect(page.locator("#privacy")).to_contain_text("What it does not understand well, it keeps for 3 days")
    page.get_by_role("link", name="Record takes").click()
    page.get_by_role("link", name="Misheard").click()
    expect(page.locator("#clips > li")).to_have_count(2)


@pytest.mark.parametrize("locale, scheme, width", [("en-GB", "light", 1200), ("es-CL", "dark", 360)])
def test_axe_finds_nothing(locale: str, scheme: str, width: int, browser: Browser, inbox: Server, page: Page) -> None:
    del page  # it has filled the inbox
    other = new_page(browser, locale=locale, scheme=scheme, width=width)
    other.goto(f"{inbox.url}/misheard")
    expect(other.locator("html")).to_have_attribute("lang", locale[:2])
    expect(other.locator("#clips > li")).to_have_count(2)
    assert Axe().run(other).violations_count == 0, Axe().run(other).generate_report()
    assert other.evaluate("document.documentElement.scrollWidth <= innerWidth")
    other.context.close()


def test_a_server_that_keeps_none_says_what_to_set_and_that_nothing_is_kept(browser: Browser, server: Server) -> None:
    page = new_page(browser)
    page.goto(f"{server.url}/misheard")
    expect(page.get_by_role("alert")).to_contain_text("serving.takes.misheard")
    page.goto(server.url)
    expect(page.locator("#privacy")).to_contain_text("It keeps none of them.")
    page.context.close()
