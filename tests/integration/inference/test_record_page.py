"""The page /record in a real Chromium whose microphone hears a clip: takes appear in the folder of the dataset."""

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route
from speechmodel_api.published import VersionList, VersionRecord
from speechmodel_api.takes import TAKES, Take, speaker_hash
from speechmodel_api.workspace import VERSIONS
from support.browser import Held, answered, expect, follow, new_page, remove_from_answers, watched
from support.servers import OK_ESPEJO, Server, VersionFolder

pytestmark = pytest.mark.slow

VERSION_NAMES = ("0123abcd", "11111111")
TRIES = 30
"""Takes until one is heard: a busy machine loses samples of the microphone."""


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """A server with a grammar of three phrases, whose users record takes into `dataset` beside its log."""
    base = tmp_path_factory.mktemp("record")
    (base / "dataset").mkdir()
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar("ok espejo", intents={"Agree": ("vale [espejo]",)})
    speakers = (speaker_hash("Ana"),)
    made = [
        VersionRecord(version=each, published_at=datetime.now(UTC), take_speakers=speakers) for each in VERSION_NAMES
    ]
    unknown = VersionRecord(version="00000000", published_at=datetime.now(UTC))
    listed = VersionList(versions=(*made, unknown)).model_dump_json(by_alias=True)
    (folder.path / VERSIONS).write_text(listed, encoding="utf-8")
    with Server(folder.path, base / "server.log", {"takes": str(base / "dataset"), "takes_wanted": "2"}) as server:
        yield server.until_ready()


@pytest.fixture
def page(browser: Browser, keeping: Server) -> Iterator[Page]:
    """The page in English, with its errors watched and no takes before and after."""
    with watched(browser, f"{keeping.url}/record") as page:
        yield page
    shutil.rmtree(takes(keeping), ignore_errors=True)


def takes(server: Server) -> Path:
    return server.log.parent / "dataset" / TAKES


def introduce(page: Page, name: str = "Ana") -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_role("checkbox").check()


def test_a_take_needs_a_name_and_consent(page: Page) -> None:
    record = page.get_by_role("button", name="Record", exact=True)
    expect(page.locator("#sentence")).to_have_text("ok espejo")
    expect(record).to_be_disabled()
    expect(page.locator("#retrain")).to_be_hidden()  # this server may start no training
    page.get_by_label("Name").fill("Ana")
    expect(record).to_be_disabled()
    page.get_by_role("checkbox").check()
    expect(record).to_be_enabled()


def test_a_spoken_sentence_is_saved_counted_and_deleted_again(page: Page, keeping: Server) -> None:
    introduce(page)
    expect(page.locator("#progress")).to_have_text("0 of 2 takes")
    save_a_take(page)
    expect(page.locator("#sentence")).to_have_text("vale")  # the next one of which there are the fewest
    expect(page.get_by_role("button", name="ok espejo 1 / 2")).to_be_visible()
    (document,) = takes(keeping).glob("Ana/*.json")
    take = Take.model_validate_json(document.read_bytes())
    assert (take.text, take.speaker, take.consent) == ("ok espejo", "Ana", True)
    page.get_by_role("button", name="Delete the last take").click()
    expect(page.locator("#status")).to_have_text("Deleted.")
    assert list(takes(keeping).glob("*/*")) == []


def save_a_take(page: Page) -> None:
    record_until_saved(page, page.get_by_role("button", name="ok espejo 0 / 2").click)


def record_until_saved(page: Page, choose: Callable[[], None], sentence: str = "ok espejo") -> None:
    for _ in range(TRIES):
        choose()
        expect_states = follow(page.locator("body"), "data-state")
        page.get_by_role("button", name="Record", exact=True).click()
        expect_states(" recording .*idle$")
        if (page.locator("#status").text_content() or "").startswith("Saved"):
            break
    expect(page.locator("#status")).to_have_text(re.compile(rf"^Saved: {sentence}\."))


def test_nothing_else_is_done_while_a_take_is_deleted(page: Page, keeping: Server) -> None:
    introduce(page)
    save_a_take(page)
    held = Held(page, "**/v1/takes/Ana/*", "DELETE")
    page.get_by_role("button", name="Delete the last take").click()
    for element in (page.get_by_label("Name"), page.get_by_role("button", name="Record", exact=True)):
        expect(element).to_be_disabled()
    held.until().continue_()
    expect(page.locator("#status")).to_have_text("Deleted.")
    expect(page.get_by_label("Name")).to_be_enabled()
    assert list(takes(keeping).glob("*/*")) == []


def test_the_last_take_cannot_be_deleted_under_another_name(page: Page) -> None:
    introduce(page)
    save_a_take(page)
    held = Held(page, "**/v1/takes?*")
    introduce(page, "Luz")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("button", name="Delete the last take")).to_be_hidden()
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_disabled()
    held.until().continue_()
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_enabled()


def test_counts_that_arrive_late_do_not_replace_newer_ones(page: Page, keeping: Server) -> None:
    expect(page.locator("#sentence")).to_have_text("ok espejo")
    held, counts = Held(page, "**/v1/takes?*"), list[Route]()
    for name in ("Ana", "Luz", "Ana"):
        page.get_by_label("Name").fill(name)
        page.get_by_label("Name").press("Enter")
        counts.append(held.until(len(counts) + 1))
    old = counts[0].fetch()
    form = {"text": "ok espejo", "speaker": "Ana", "consent": "true"}
    keeping.client.post("/v1/takes", data=form, files={"file": OK_ESPEJO.read_bytes()}).raise_for_status()
    counts[2].continue_()
    expect(page.get_by_role("button", name="ok espejo 1 / 2")).to_be_visible()
    with answered(page, "**/v1/takes?*"):
        counts[0].fulfill(response=old)
    assert page.get_by_role("button", name="ok espejo 1 / 2").is_visible()


def test_a_sentence_that_is_chosen_while_the_takes_are_counted_stays(page: Page) -> None:
    expect(page.locator("#sentence")).to_have_text("ok espejo")
    held = Held(page, "**/v1/takes?*")
    introduce(page)
    counts = held.until()
    page.get_by_role("button", name="vale espejo 0 / 2").click()
    with answered(page, "**/v1/takes?*"):
        counts.continue_()
    expect(page.locator("#sentence")).to_have_text("vale espejo")
    assert page.locator("#sentences [aria-current]").count() == 1


def test_a_sentence_is_offered_by_the_counts_of_the_last_name(page: Page, keeping: Server) -> None:
    form = {"text": "ok espejo", "speaker": "Luz", "consent": "true"}
    keeping.client.post("/v1/takes", data=form, files={"file": OK_ESPEJO.read_bytes()}).raise_for_status()
    expect(page.locator("#sentence")).to_have_text("ok espejo")
    held = Held(page, "**/v1/takes?*")
    introduce(page)
    held.until(1)
    introduce(page, "Luz")
    page.get_by_label("Name").press("Enter")
    ana, luz = held.until(1), held.until(2)
    with answered(page, "**/v1/takes?*"):
        ana.continue_()
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_disabled()
    luz.continue_()
    expect(page.locator("#sentence")).to_have_text("vale")


def test_a_take_that_was_not_saved_is_not_saved_under_another_name(page: Page, keeping: Server) -> None:
    introduce(page)
    page.route("**/v1/takes", lambda route: route.fulfill(status=503))
    page.get_by_role("button", name="ok espejo 0 / 2").click()
    for _ in range(TRIES):
        expect_states = follow(page.locator("body"), "data-state")
        page.get_by_role("button", name="Record", exact=True).click()
        expect_states(" recording .*idle$")
        expect(page.get_by_role("alert")).to_be_visible()
        if page.get_by_role("button", name="Try again").is_visible():
            break
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.unroute("**/v1/takes")
    introduce(page, "Luz")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    assert list(takes(keeping).glob("*/*")) == []


def test_an_answer_of_a_proxy_is_an_error_and_the_page_goes_on(page: Page) -> None:
    introduce(page)
    page.route("**/v1/takes?*", lambda route: route.fulfill(status=200, body="<html>", content_type="text/html"))
    page.get_by_label("Name").fill("Luz")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("A proxy may have sent it.")
    page.unroute("**/v1/takes?*")
    page.get_by_label("Name").fill("Ana")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#sentence")).to_have_text("ok espejo")


def test_a_sentence_of_ones_own_is_offered_and_chosen(page: Page) -> None:
    introduce(page)
    page.get_by_label("A sentence of your own").fill("apaga la luz")
    page.get_by_role("button", name="Record it").click()
    expect(page.locator("#sentence")).to_have_text("apaga la luz")
    page.get_by_role("button", name="Another sentence").click()
    expect(page.locator("#sentence")).to_have_text("ok espejo")


def test_a_sentence_of_ones_own_is_listed_once_as_it_is_trained(page: Page) -> None:
    def write() -> None:
        page.get_by_label("A sentence of your own").fill("\u00a1OK, Espejo!")
        page.get_by_role("button", name="Record it").click()

    introduce(page)
    for count in (1, 2):
        record_until_saved(page, write)
        expect(page.get_by_role("button", name=f"ok espejo {count} / 2")).to_be_visible()
        assert page.locator("#sentences .what").all_text_contents() == ["ok espejo", "vale", "vale espejo"]
        expect(page.locator("#sentence")).to_have_text("vale")  # the next one of which there are the fewest


def test_letters_that_the_model_cannot_write_are_named_once_a_take_is_saved(page: Page) -> None:
    def write() -> None:
        page.get_by_label("A sentence of your own").fill("Ok, Zoe")
        page.get_by_role("button", name="Record it").click()

    introduce(page)
    record_until_saved(page, write, "ok zoe")
    expect(page.locator("#status")).to_have_text(re.compile(r" New letters: z\. This version of the model cannot"))
    save_a_take(page)
    expect(page.locator("#status")).not_to_have_text(re.compile("New letters"))


def test_a_take_is_saved_by_an_older_server_too(page: Page) -> None:
    introduce(page)
    remove_from_answers(page, "**/v1/takes", "new_letters")
    save_a_take(page)
    expect(page.get_by_role("button", name="ok espejo 1 / 2")).to_be_visible()


def test_a_speaker_is_forgotten_once_asked(page: Page, keeping: Server) -> None:
    for speaker in ("Ana", "Luz"):
        form = {"text": "ok espejo", "speaker": speaker, "consent": "true"}
        keeping.client.post("/v1/takes", data=form, files={"file": OK_ESPEJO.read_bytes()}).raise_for_status()
    introduce(page)
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete all takes of this name").click()
    assert {path.name for path in takes(keeping).iterdir()} == {"Ana", "Luz"}
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete all takes of this name").click()
    expect(page.locator("#status")).to_have_text("Deleted takes of Ana: 1.")
    expect(page.locator("#made li")).to_have_text([re.compile(f"^{each} of ") for each in VERSION_NAMES])
    expect(page.locator("#made")).to_contain_text("which is served now")
    expect(page.locator("#made")).to_contain_text("Change dataset.revision")
    expect(page.locator("#made")).to_contain_text("Versions that do not record whose takes they were made with: 1.")
    assert Axe().run(page).violations_count == 0
    assert {path.name for path in takes(keeping).iterdir()} == {"Luz"}


def test_the_first_page_leads_to_it(page: Page, keeping: Server) -> None:
    page.goto(keeping.url)
    page.get_by_role("link", name="Record takes").click()
    expect(page.locator("#sentence")).to_have_text("ok espejo")


@pytest.mark.parametrize("locale, scheme, width", [("en-GB", "light", 1200), ("es-CL", "dark", 360)])
def test_axe_finds_nothing(locale: str, scheme: str, width: int, browser: Browser, keeping: Server) -> None:
    page = new_page(browser, locale=locale, scheme=scheme, width=width)
    page.goto(f"{keeping.url}/record")
    expect(page.locator("html")).to_have_attribute("lang", locale[:2])
    expect(page.locator("#sentence")).to_have_text("ok espejo")
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


def test_a_server_that_keeps_none_says_what_to_set(browser: Browser, server: Server) -> None:
    page = new_page(browser)
    page.goto(f"{server.url}/record")
    expect(page.get_by_role("alert")).to_contain_text("serving.takes")
    page.goto(server.url)
    expect(page.locator("#name")).to_have_text("espejo")
    expect(page.get_by_role("link", name="Record takes")).to_be_hidden()
    page.context.close()
