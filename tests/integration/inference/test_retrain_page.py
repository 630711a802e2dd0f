"""The button on the pages /record and /misheard in a real Chromium: it starts a training, and shows how it goes on."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, Route
from speechmodel_api.takes import TAKES
from support.browser import Held, expect, new_page, watched
from support.own_model import ModelServer, model_server, ready
from support.servers import OK_ESPEJO, Server, VersionFolder
from support.waiting import until

pytestmark = pytest.mark.slow

START = "Train a new version"
LATEST = 60_000
"""Longest time between two looks of the page at the state, in milliseconds."""
WORKING = [
    {"type": "DatasetReady", "status": "True"},
    {"type": "Reconciling", "status": "True", "message": "train is running in Job espejo-train-0a1b2c3d-1"},
]
TRAINING = {"phase": "Training", "progress": "12/75", "conditions": WORKING}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    with model_server(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def cluster(running: ModelServer, server: Server) -> Iterator[ModelServer]:
    """An API server whose SpeechModel is Ready, and no takes afterwards."""
    running.model, running.allowed, running.patches = ready(), True, []
    yield running
    shutil.rmtree(server.log.parent / "dataset" / TAKES, ignore_errors=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mapped: Path, running: ModelServer) -> Iterator[Server]:
    """A server that may start a training, and keeps takes in `dataset` beside its log."""
    base = tmp_path_factory.mktemp("retrain")
    (base / "dataset").mkdir()
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar("ok espejo", "vale [espejo]")
    settings = {"takes": str(base / "dataset"), "misheard_days": "3", "service_account": str(running.account)}
    with Server(folder.path, base / "server.log", settings, environment=running.environment) as server:
        yield server.until_ready()


@pytest.fixture
def page(browser: Browser, server: Server, cluster: ModelServer) -> Iterator[Page]:
    """The page /record in English, with one take that was saved since the last training."""
    del cluster
    form = {"text": "ok espejo", "speaker": "Ana", "consent": "true"}
    server.client.post("/v1/takes", data=form, files={"file": OK_ESPEJO.read_bytes()}).raise_for_status()
    with watched(browser, f"{server.url}/record") as page:
        expect(page.get_by_role("button", name=START)).to_be_enabled()
        yield page


def test_a_training_is_started_once_asked_and_followed_to_its_end(page: Page, cluster: ModelServer) -> None:
    page.clock.install()  # for timers that are set after it
    page.reload()
    button, state = page.get_by_role("button", name=START), page.locator("#retrain-state")
    expect(button).to_be_enabled()
    expect(page.locator("#retrain-takes")).to_have_text("New takes: 1.")
    expect(page.locator("#retrain-since")).to_contain_text("Jan 2, 2026")
    asked: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", dismiss)
    button.click()
    assert asked[0].startswith("New takes: 1. Train a new version with all takes?")
    assert cluster.patches == []
    page.once("dialog", lambda dialog: dialog.accept())
    button.press("Enter")
    expect(state).to_have_text("A training has been requested…")
    expect(state).to_be_focused()
    expect(button).to_be_disabled()
    assert cluster.patches == [{"dataset": {"revision": cluster.revision}}]
    cluster.write_status(**TRAINING)
    until_seen(page, "A new version is being trained…")
    expect(page.locator("#retrain-epochs")).to_have_text("12 of 75 epochs")
    expect(page.locator("#retrain-message")).to_contain_text("espejo-train-0a1b2c3d-1")

    def of_the_new_version(route: Route) -> None:
        card = route.fetch().json()
        route.fulfill(status=200, body=json.dumps(card | {"version": "feedbeef"}))

    page.route("**/v1/speechmodel", of_the_new_version)
    generation = cluster.model["metadata"]["generation"]
    cluster.model["status"] = ready()["status"] | {"observedGeneration": generation}
    until_seen(page, "Finished. The new version feedbeef is served.")
    expect(page.locator("#retrain-epochs")).to_be_hidden()
    expect(button).to_be_enabled()


def until_seen(page: Page, text: str) -> None:
    """Move the clock of the page on, as often as it takes until it has looked and shows this state."""
    state = page.locator("#retrain-state")

    def look() -> bool:
        page.clock.fast_forward(LATEST)
        return state.inner_text() == text

    until(look, f"the page shows {text!r}", explain=page.content)


def test_a_click_while_the_page_asks_for_the_state_starts_a_training_after_it(page: Page, cluster: ModelServer) -> None:
    button, held = page.get_by_role("button", name=START), Held(page, "**/v1/retrain")
    page.get_by_label("Name").fill("Luz")
    page.get_by_label("Name").press("Enter")  # takes of another name are counted, and then the state is asked for
    look = held.until()
    page.once("dialog", lambda dialog: dialog.accept())
    button.click()
    expect(button).to_be_disabled()
    assert cluster.patches == []
    look.continue_()
    expect(page.locator("#retrain-state")).to_have_text("A training has been requested…")
    assert cluster.patches == [{"dataset": {"revision": cluster.revision}}]


def test_a_failed_training_shows_the_operators_reason_and_may_be_started_again(
    page: Page, cluster: ModelServer
) -> None:
    stalled = {"type": "Stalled", "status": "True", "message": "no recording can be used: see report.json"}
    cluster.write_status(phase="Failed", conditions=[stalled])
    page.reload()
    expect(page.locator("#retrain-state")).to_have_text(re.compile("^The new version needs help"))
    expect(page.locator("#retrain-message")).to_have_text("no recording can be used: see report.json")
    expect(page.get_by_role("button", name=START)).to_be_enabled()


def test_the_reason_why_none_can_be_started_is_shown_before_anybody_asks(page: Page, cluster: ModelServer) -> None:
    entry = {"manager": "kustomize-controller", "operation": "Apply"}
    entry["fieldsV1"] = {"f:spec": {"f:dataset": {"f:revision": {}}}}  # type: ignore[assignment]
    cluster.model["metadata"]["managedFields"] = [entry]
    page.reload()
    expect(page.locator("#retrain-state")).to_have_text(re.compile("^kustomize-controller applies a manifest"))
    expect(page.get_by_role("button", name=START)).to_be_disabled()
    cluster.allowed = False
    page.reload()
    expect(page.locator("#retrain-state")).to_have_text(re.compile("Add the SpeechModel to retrain.models"))


@pytest.mark.parametrize(
    ("path", "locale", "scheme", "width"), [("record", "en-GB", "light", 1200), ("misheard", "es-CL", "dark", 360)]
)
def test_axe_finds_nothing(
    path: str, locale: str, scheme: str, width: int, browser: Browser, server: Server, cluster: ModelServer
) -> None:
    cluster.write_status(**TRAINING)
    page = new_page(browser, locale=locale, scheme=scheme, width=width)
    page.goto(f"{server.url}/{path}")
    expect(page.locator("#retrain-epochs")).to_have_text(re.compile("^12 "))
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()
