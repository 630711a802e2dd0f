"""The page at / in a real Chromium, with a real server: what a user does, and the words on the screen."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route
from speechmodel_runtime import save
from support.browser import INSECURE, Held, chromium, expect, follow, new_page, remove_from_answers, watched
from support.cards import DIGEST, card
from support.places import FIXTURES
from support.servers import INTENTS, OK_ESPEJO, WITHOUT_INTENT, Server, Start, VersionFolder

pytestmark = pytest.mark.slow

HIJO = FIXTURES / "clips" / "shapes_44f683a8_2_3_000000_6_002.wav"
"""espejo llama a mi hijo"""
HOLA = FIXTURES / "clips" / "shapes_3c59dc04_2_3_000000_2_001.wav"
"""hola espejo, which is not in the grammar"""
TAKES = 30
RECORD_AND_SEND = """async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const recorder = new MediaRecorder(stream, { mimeType: "audio/webm;codecs=opus" });
    const pieces = [];
    recorder.ondataavailable = ({ data }) => pieces.push(data);
    const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
    recorder.start(250);
    await new Promise((resolve) => setTimeout(resolve, 4000));
    recorder.stop();
    await stopped;
    stream.getTracks().forEach((track) => track.stop());
    const form = new FormData();
    form.append("file", new Blob(pieces, { type: recorder.mimeType }), "blob");
    form.append("response_format", "verbose_json");
    return (await fetch("/v1/audio/transcriptions", { method: "POST", body: form })).json();
}"""
"""A web page with a MediaRecorder: its webm has no duration, and its parts come while it is recorded."""
HEAR_SILENCE = """() => {
    navigator.mediaDevices.getUserMedia = async () => new AudioContext().createMediaStreamDestination().stream;
}"""
SOME_SECONDS = re.compile(r"^[1-9]\d? s$")


@pytest.fixture(scope="module")
def grammar_server(tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """A version with a grammar and a card, and low limits."""
    base = tmp_path_factory.mktemp("page")
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar(*WITHOUT_INTENT, intents=INTENTS, quien=("hija", "hijo", "nuera"))
    folder.describe(card())
    with Server(folder.path, base / "server.log", {"max_audio_seconds": "20", "max_upload_bytes": "1000000"}) as server:
        yield server.until_ready()


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """A version in free text, whose server asks for the key `secret`."""
    base = tmp_path_factory.mktemp("guarded")
    (base / "keys").write_text("secret")
    folder = VersionFolder(base / "models", mapped)
    with Server(folder.path, base / "server.log", {"api_keys": str(base / "keys")}) as server:
        yield server.until_ready()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Its microphone hears HIJO."""
    with chromium(HIJO) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, grammar_server: Server) -> Iterator[Page]:
    """The page in English, with its errors watched."""
    with watched(browser, grammar_server.url) as page:
        yield page


def words(page: Page) -> list[str]:
    return page.locator("#timeline .word").all_inner_texts()


def test_spoken_words_appear_with_their_confidence_once_the_speaker_pauses(page: Page) -> None:
    speak_until_heard(page, "espejo llama a mi hijo")
    expect(page.locator("#verdict")).to_have_text(re.compile(r"^\d+(\.\d)?% sure$"))
    assert words(page) == ["espejo", "llama", "a", "mi", "hijo"]
    assert all(re.fullmatch(r"\d+%", each) for each in page.locator("#timeline .sureness").all_inner_texts())
    expect(page.locator("#slots")).to_have_text("intentCallPersonquienhijo")
    expect(page.locator("#candidates")).to_contain_text("espejo llama a mi hija CallPerson")
    expect(page.get_by_role("status").filter(has_text="Heard: espejo llama a mi hijo, ")).to_be_attached()


def speak_until_heard(page: Page, text: str) -> None:
    """Press the button until a take is heard: a busy machine loses samples of the microphone."""
    for _ in range(TAKES):
        expect_states = follow(page.locator("body"), "data-state")
        page.get_by_role("button", name="Speak").click()
        expect_states(" recording .*idle$")
        if page.locator("#heard").text_content() == text:
            return
    raise AssertionError(f"heard {page.locator('#heard').text_content()!r} in the last of {TAKES} takes, not {text!r}")


def test_words_appear_while_somebody_speaks_also_with_a_key(browser: Browser, guarded_server: Server) -> None:
    with watched(browser, guarded_server.url) as page:
        page.get_by_label("This server asks for an API key").fill("secret")
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#name")).to_have_text("espejo")
        previews = []
        for _ in range(TAKES):  # a busy machine loses samples of the microphone, mostly the first
            previews.append(preview_of_a_held_recording(page))
            if "llama a mi" in previews[-1]:  # its last word may still be on its way
                break
        assert "llama a mi" in previews[-1], previews
        expect(page.locator("#live")).to_be_hidden()
        expect(page.locator("#heard")).to_have_text(re.compile("."))


def preview_of_a_held_recording(page: Page) -> str:
    """Hold the space bar while the microphone plays its clip, and return the words that are there before its release."""
    page.keyboard.down(" ")
    expect(page.locator("#elapsed")).to_have_text(re.compile(r"^([6-9]|\d\d) s$"))
    words = page.locator("#live").text_content() or ""
    page.keyboard.up(" ")
    expect(page.locator("body[data-state=idle]")).to_be_attached()
    return words


def test_words_appear_at_the_end_where_no_web_socket_can_be_opened(page: Page) -> None:
    page.route_web_socket("**/v1/realtime**", lambda socket: socket.close(code=1013))
    assert preview_of_a_held_recording(page) == ""
    expect(page.locator("#result-title")).to_contain_text("Recording")
    assert page.locator("#heard").text_content()


def test_words_that_another_page_records_with_a_media_recorder_are_understood(page: Page) -> None:
    for _ in range(TAKES):  # a busy machine loses samples of the microphone
        answer = page.evaluate(RECORD_AND_SEND)
        if answer.get("text") == "espejo llama a mi hijo":
            break
    assert answer["text"] == "espejo llama a mi hijo"
    assert answer["duration"] > 3
    assert answer["warnings"] == []


def test_the_space_bar_records_while_it_is_held(page: Page) -> None:
    page.keyboard.down(" ")
    expect(page.locator("#status")).to_have_text("Listening…")
    expect(page.locator("#elapsed")).to_have_text(re.compile(r"^([5-9]|\d\d) s$"))  # the pause before does not end it
    page.keyboard.up(" ")
    expect(page.locator("#result-title")).to_have_text(re.compile(r"^Recording, .* · ([5-9]|\d\d)(\.\d)? s$"))


def test_escape_discards_the_recording(page: Page) -> None:
    page.evaluate(HEAR_SILENCE)  # which has no pause behind speech, so that the recording does not end by itself
    page.get_by_role("button", name="Speak").press("Enter")
    expect(page.locator("#elapsed")).to_have_text(SOME_SECONDS)
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Discarded.")
    expect(page.locator("#result")).to_be_hidden()


MICROPHONES = """() => {
    const asked = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    window.streams = [];
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        if (window.allowed) await window.allowed;
        const stream = await asked(wanted);
        window.streams.push(stream);
        return stream;
    };
}"""
"""Keep every stream of the microphone, and hold them back until `allowed` is resolved."""
LISTENS = "() => streams.some((stream) => stream.getTracks().some((track) => track.readyState === 'live'))"
ASKS = "() => { window.allowed = new Promise((resolve) => { window.allow = resolve; }); }"


def test_a_file_that_is_chosen_while_somebody_speaks_ends_the_recording(page: Page) -> None:
    page.evaluate(MICROPHONES)
    page.keyboard.down(" ")
    expect(page.locator("#elapsed")).to_have_text(SOME_SECONDS)
    page.set_input_files("#file", str(OK_ESPEJO))
    expect(page.locator("#heard")).to_have_text("ok espejo")
    assert not page.evaluate(LISTENS)
    expect(page.locator("#elapsed")).to_have_text("")
    page.keyboard.up(" ")
    page.wait_for_timeout(1000)
    expect(page.locator("#heard")).to_have_text("ok espejo")
    expect(page.locator("body")).to_have_attribute("data-state", "idle")


@pytest.mark.parametrize("instead", ["file", "Escape"])
def test_what_is_done_while_the_browser_asks_for_the_microphone_begins_no_recording(page: Page, instead: str) -> None:
    page.evaluate(MICROPHONES)
    page.evaluate(ASKS)
    page.keyboard.press(" ")
    expect(page.locator("body")).to_have_attribute("data-state", "asking")
    if instead == "file":
        page.set_input_files("#file", str(OK_ESPEJO))
        expect(page.locator("#heard")).to_have_text("ok espejo")
    else:
        page.keyboard.press("Escape")
    expect(page.locator("body")).to_have_attribute("data-state", "idle")
    page.evaluate("() => allow()")
    page.wait_for_function("() => streams.length === 1")
    page.wait_for_timeout(1000)
    assert page.evaluate("() => document.body.dataset.state") == "idle", "at once: a recording would end by itself"
    assert not page.evaluate(LISTENS)


def test_of_two_files_the_one_that_was_chosen_last_is_shown(page: Page, tmp_path: Path) -> None:
    page.evaluate("""() => {
        const decode = OfflineAudioContext.prototype.decodeAudioData;
        const held = new Promise((resolve) => { window.release = resolve; });
        let first = true;
        OfflineAudioContext.prototype.decodeAudioData = async function (content) {
            const wait = first && held;
            first = false;
            await wait;
            return decode.call(this, content).finally(() => { if (wait) window.released = true; });
        };
    }""")
    page.set_input_files("#file", str(HOLA))
    expect(page.locator("body")).to_have_attribute("data-state", "busy")
    page.set_input_files("#file", str(OK_ESPEJO))
    expect(page.locator("#heard")).to_have_text("ok espejo")
    page.evaluate("() => release()")
    page.wait_for_function("() => window.released")
    page.wait_for_timeout(1000)
    assert page.locator("#heard").inner_text() == "ok espejo"


def test_words_of_a_file_are_under_its_waveform_at_their_times(page: Page) -> None:
    with page.expect_response("**/v1/audio/transcriptions") as asked:
        page.locator("#file").set_input_files(HIJO)
    answer = asked.value.json()
    expect(page.locator("#heard")).to_have_text(answer["text"])
    track = box(page, "#timeline .track")
    for word, span in zip(answer["words"], page.locator("#timeline .span").all(), strict=True):
        place = span.bounding_box()
        assert place is not None
        assert place["x"] - track["x"] == pytest.approx(track["width"] * word["start"] / answer["duration"], abs=1)
    labels = [each.bounding_box() for each in page.locator("#timeline li").all()]
    assert not [(a, b) for a in labels for b in labels if a and b and a is not b and overlap(a, b)]
    assert (page.locator(".wave path").get_attribute("d") or "").count("M") > 100


def test_a_file_that_is_doubtful_is_recognised_with_a_warning(page: Page, tmp_path: Path) -> None:
    (tmp_path / "cut.wav").write_bytes(HIJO.read_bytes()[:-6000])
    page.locator("#file").set_input_files(tmp_path / "cut.wav")
    expect(page.locator("#warnings")).to_have_text(re.compile("^The file is incomplete: its end may be missing"))
    page.locator("#file").set_input_files(HIJO)
    expect(page.locator("#heard")).to_have_text("espejo llama a mi hijo")
    expect(page.locator("#warnings")).to_be_hidden()


def box(page: Page, selector: str) -> Any:
    return page.locator(selector).bounding_box()


def overlap(a: Any, b: Any) -> bool:
    return bool(
        a["x"] < b["x"] + b["width"]
        and b["x"] < a["x"] + a["width"]
        and a["y"] < b["y"] + b["height"]
        and b["y"] < a["y"] + a["height"]
    )


def test_a_recording_is_played_from_a_word(page: Page) -> None:
    page.locator("#file").set_input_files(HIJO)
    word = page.get_by_role("button", name="hijo")
    expect(word).to_be_visible()
    expect_hidden, expect_pressed = (
        follow(page.locator("#timeline .head"), "hidden"),
        follow(page.locator("#play"), "aria-pressed"),
    )
    word.click()
    expect_pressed("^ true false$")  # at its end
    expect_hidden("^ null $")


def test_other_speech_is_nothing_of_the_set_and_the_closest_phrase_is_shown(page: Page) -> None:
    page.locator("#file").set_input_files(HOLA)
    expect(page.locator("#heard")).to_have_text("None of the phrases")
    expect(page.locator("#others-title")).to_have_text("Closest phrases")
    expect(page.locator("#candidates")).to_contain_text("ok espejo")
    assert words(page) == []


def test_an_answer_that_comes_before_the_model_is_known_is_corrected_afterwards(page: Page) -> None:
    held = Held(page, "**/v1/speechmodel")
    page.reload()
    page.locator("#file").set_input_files(HOLA)
    expect(page.locator("#heard")).to_have_text("Nothing")
    held.until().continue_()
    expect(page.locator("#heard")).to_have_text("None of the phrases")


def test_what_was_heard_before_can_be_shown_again(page: Page) -> None:
    for recording, heard in ((OK_ESPEJO, "ok espejo"), (HOLA, "None of the phrases")):
        page.locator("#file").set_input_files(recording)
        expect(page.locator("#heard")).to_have_text(heard)
    page.locator("#entries").get_by_role("button", name="ok espejo").click()
    expect(page.locator("#heard")).to_have_text("ok espejo")
    assert words(page) == ["ok", "espejo"]


def test_a_dropped_file_is_recognised(page: Page) -> None:
    expect(page.locator("#name")).to_have_text("espejo")
    dropped = page.evaluate_handle(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "ok.wav"));
            return data;
        }""",
        list(OK_ESPEJO.read_bytes()),
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": dropped})
    expect(page.get_by_text("Drop the recording")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    expect(page.locator("#heard")).to_have_text("ok espejo")
    expect(page.get_by_text("Drop the recording")).to_be_hidden()


def test_the_page_says_what_the_model_is_and_what_it_can_hear(page: Page) -> None:
    model = page.locator("#model")
    expect(model).to_contain_text("6.9%")
    for text in ("1.4% to 14.8%, 26 clips", "2 of 26", "1 of 40", "296 clips, 6.9 min", "36, best: 33", "0123abcd"):
        expect(model).to_contain_text(text)
    expect(model).to_contain_text("The speakers are guessed from names of files or folders")
    expect(page.get_by_title(DIGEST)).to_be_visible()
    expect(page.get_by_role("img", name="Over 36 epochs, the training loss went from")).to_be_visible()
    expect(page.locator("#phrases li")).to_have_text(
        ["ok espejo", "vale [espejo]", "espejo llama a mi {quien} CallPerson", "{quien} hija · hijo · nuera"]
    )
    page.get_by_label("Search phrases and intents").fill("HÍJ")
    expect(page.locator("#phrases li")).to_have_text(
        ["espejo llama a mi hija CallPerson", "espejo llama a mi hijo CallPerson"]
    )
    expect(page.locator("#phrases-count")).to_have_text("2 of 6")
    page.get_by_label("Search phrases and intents").fill("callp")
    expect(page.locator("#phrases-count")).to_have_text("3 of 6")


def test_an_older_server_whose_card_names_no_engine_is_shown_without_one(page: Page) -> None:
    expect(page.locator("#model")).to_contain_text("Engine")
    remove_from_answers(page, "**/v1/speechmodel", "engine")
    page.reload()
    expect(page.locator("#model")).to_contain_text("6.9%")
    expect(page.locator("#model")).not_to_contain_text("Engine")


def test_the_search_finds_phrases_beyond_those_that_the_page_has(
    browser: Browser, folder: VersionFolder, start: Start
) -> None:
    words = "(ok|vale|hola|espejo|llama|mi|hija)"
    folder.decode_by_grammar(
        "ok espejo", " ".join([words] * 6), intents={"First": ("espejo",), "Late": ("vale nuera",)}
    )
    page = new_page(browser)
    page.goto(start().until_ready().url)
    expect(page.locator("#phrases-count")).to_have_text("The first 2,000 phrases; there are more")
    page.get_by_label("Search phrases and intents").fill("NÚER")
    expect(page.locator("#phrases-count")).to_have_text("1 found")
    expect(page.locator("#phrases li")).to_have_text(["vale nuera Late"])
    page.get_by_label("Search phrases and intents").fill("vale mi vale")
    expect(page.locator("#phrases-count")).to_contain_text("found; there are more")
    page.get_by_label("Search phrases and intents").fill("zz")
    expect(page.locator("#phrases-count")).to_have_text("0 found")
    page.get_by_label("Search phrases and intents").fill("nu\u0301er")
    expect(page.locator("#phrases mark")).to_have_text("nuer")
    page.get_by_label("Search phrases and intents").fill("FIRS")
    expect(page.locator("#phrases li")).to_have_text("espejo First")
    expect(page.locator("#phrases-count")).to_have_text("1 found; there are more")


def test_free_text_is_shown_with_how_sure_it_and_its_words_are(
    browser: Browser, folder: VersionFolder, start: Start
) -> None:
    folder.be_confident()
    page = new_page(browser)
    page.goto(start().until_ready().url)
    page.locator("#file").set_input_files(OK_ESPEJO)
    expect(page.locator("#heard")).to_have_text("ok espejo")
    expect(page.locator("#verdict")).to_have_text(re.compile(r"^(9\d(\.\d)?|100)% sure$"))
    expect(page.get_by_role("button", name=re.compile(r"^espejo, (9\d|100)% sure, at "))).to_be_visible()
    expect(page.locator("#others-title")).to_have_text("It could also have been")


def test_a_version_in_free_text_from_before_there_were_cards_is_served(browser: Browser, server: Server) -> None:
    page = new_page(browser)
    page.goto(server.url)
    expect(page.locator("#model")).to_contain_text("published without its figures")
    expect(page.locator("#phrases-none")).to_have_text("Any words: this model transcribes free text.")
    page.locator("#file").set_input_files(HOLA)
    expect(page.locator("#heard")).to_have_text("hola espejo")
    expect(page.locator("#verdict")).to_contain_text("published before free text had confidences")
    assert words(page) == ["hola", "espejo"]
    expect(page.locator("#timeline .sureness")).to_have_count(0)
    page.context.close()


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("letter.wav", b"dear server", "letter.wav cannot be read as audio"),
        ("none.wav", b"", "none.wav contains no sound"),
        ("large.wav", bytes(1_200_000), "large.wav has 1.2 MB, and the server takes up to 1 MB"),
        ("short.wav", np.ones(100, np.int16), "short.wav is too short"),
        ("long.wav", np.ones(21 * 16_000, np.int16), "long.wav is longer than the 20 s"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(
    name: str, content: Any, says: str, page: Page, tmp_path: Path
) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        save(tmp_path / name, content)
    expect(page.locator("#name")).to_have_text("espejo")  # the limits are known
    page.locator("#file").set_input_files(tmp_path / name)
    expect(page.get_by_role("alert")).to_contain_text(says)
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()


@pytest.mark.parametrize(
    "error, says",
    [
        ("NotFoundError", "No microphone was found"),
        ("NotAllowedError", "does not let this page use the microphone"),
        ("NotReadableError", "Another program may be using it"),
    ],
)
def test_a_microphone_that_cannot_be_used_is_explained(error: str, says: str, page: Page) -> None:
    refuse_microphone = f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{error}'))"
    page.evaluate(f"() => {{ {refuse_microphone} }}")
    page.get_by_role("button", name="Speak").click()
    expect(page.get_by_role("alert")).to_contain_text(says)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_without_a_secure_context_the_page_says_how_and_takes_files(browser: Browser, grammar_server: Server) -> None:
    page = new_page(browser)
    page.goto(grammar_server.url.replace("127.0.0.1", INSECURE))
    expect(page.locator("#record-hint")).to_contain_text("kubectl port-forward service/espejo 8080:80")
    expect(page.get_by_role("button", name="Speak")).to_be_disabled()
    page.locator("#file").set_input_files(OK_ESPEJO)
    expect(page.locator("#heard")).to_have_text("ok espejo")
    page.context.close()


def test_a_silent_recording_is_not_sent(page: Page) -> None:
    page.evaluate(HEAR_SILENCE)
    page.keyboard.down(" ")
    expect(page.locator("#elapsed")).to_have_text(SOME_SECONDS)
    page.keyboard.up(" ")
    expect(page.get_by_role("alert")).to_contain_text("Only silence was recorded")


def test_a_busy_server_is_asked_again(page: Page) -> None:
    busy = {"error": {"message": "The server is busy.", "type": "rate_limit_error", "code": "queue_full"}}
    asked = Held(page, "**/v1/audio/transcriptions", "POST")
    page.locator("#file").set_input_files(OK_ESPEJO)
    asked.until(1).fulfill(status=429, json=busy, headers={"Retry-After": "1"})
    again = asked.until(2)
    expect(page.locator("#status")).to_have_text("The server is busy. Next try in 1 s.")
    again.continue_()
    expect(page.locator("#heard")).to_have_text("ok espejo")


def test_a_server_that_does_not_answer_can_be_asked_again(page: Page) -> None:
    page.route("**/v1/audio/transcriptions", lambda route: route.abort())
    page.locator("#file").set_input_files(OK_ESPEJO)
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.unroute("**/v1/audio/transcriptions")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#heard")).to_have_text("ok espejo")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_key_of_a_server_that_asks_for_one_is_sent_from_then_on(browser: Browser, grammar_server: Server) -> None:
    page = new_page(browser)

    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer secret":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"message": "no key", "type": "invalid_request_error"}})

    page.route("**/v1/**", guard)
    page.goto(grammar_server.url)
    for key in ("wrong", "secret"):
        page.get_by_label("This server asks for an API key").fill(key)
        page.get_by_role("button", name="Use this key").click()
        if key == "wrong":
            expect(page.get_by_role("alert")).to_contain_text("does not accept this key")
    expect(page.locator("#name")).to_have_text("espejo")
    page.reload()
    page.locator("#file").set_input_files(OK_ESPEJO)
    expect(page.locator("#heard")).to_have_text("ok espejo")
    page.context.close()


@pytest.mark.parametrize("scheme, width", [("light", 1200), ("dark", 360)])
@pytest.mark.parametrize(
    "locale, heard, nothing", [("en-GB", "Heard", "None of the phrases"), ("es-CL", "Oído", "Nada del")]
)
def test_axe_finds_nothing_in_any_language_and_colour(
    locale: str, heard: str, nothing: str, scheme: str, width: int, browser: Browser, grammar_server: Server
) -> None:
    page = new_page(browser, locale=locale, scheme=scheme, width=width)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(grammar_server.url)
    expect(page.locator("html")).to_have_attribute("lang", locale[:2])
    page.locator("#file").set_input_files(HIJO)
    expect(page.locator("#announcement")).to_contain_text(heard)
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    page.locator("#file").set_input_files(HOLA)
    expect(page.locator("#heard")).to_contain_text(nothing)
    page.locator("#file").set_input_files({"name": "x.wav", "mimeType": "audio/wav", "buffer": b"x"})
    expect(page.get_by_role("alert")).to_be_visible()
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert {url for url in requested if not url.startswith((grammar_server.url, "blob:"))} == set()
    page.context.close()


def test_the_language_that_was_chosen_is_kept(page: Page) -> None:
    page.get_by_label("Language of this page").select_option("es")
    expect(page.locator("#phrases-title")).to_have_text("Lo que puede oír")
    page.reload()
    expect(page.locator("#phrases-title")).to_have_text("Lo que puede oír")


def test_every_part_of_the_page_is_revalidated_and_guarded(grammar_server: Server) -> None:
    for path in ("/", "/page/main.js"):
        answer = grammar_server.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        again = grammar_server.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert grammar_server.client.head(path).headers["etag"] == answer.headers["etag"]
    for path in ("/page/none.js", "/page/../settings.py", "/page/%2e%2e%2fsettings.py"):
        assert grammar_server.get(path).status_code == 404
