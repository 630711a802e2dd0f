"""report.html: what a person sees of a model, without a network."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from speechmodel_pipeline.convert.stage import convert
from speechmodel_pipeline.evaluate import page
from speechmodel_pipeline.evaluate.stage import evaluate
from speechmodel_pipeline.evaluation_report import EvaluationReport
from speechmodel_stagekit.artefacts import seal
from speechmodel_stagekit.dataset import Part, open_dataset
from support.browser import chromium, new_page
from support.cards import card
from support.workspaces import DATA, EVALUATE, TRAIN, Workspace, make_workspace

from .test_evaluate import HALF

HISTORY = """epoch,step,loss,dev_loss,seconds,clips_per_second,learning_rate,dev_wer
1,10,30.5,28.25,1.0,20.0,0.001,1.0
2,20,12.5,11.75,1.0,20.0,0.0005,0.625
"""
PLAYABLE_SECONDS = """player => new Promise(done => {
    player.oncanplay = () => done(player.duration)
    player.onerror = () => done(0)
    player.preload = 'auto'
    player.load()
})"""
PLACES = """(element, parts) => parts.map(part => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT)
    while (walker.nextNode()) {
        const node = walker.currentNode, at = node.data.indexOf(part), range = document.createRange()
        if (at < 0) continue
        range.setStart(node, at)
        range.setEnd(node, at + part.length)
        return range.getBoundingClientRect().left
    }
    throw new Error(`no ${part}`)
})"""
"""Returns the left edge of each part of the text of an element."""
TRICK = "<script>alert(1)</script>"


class References(HTMLParser):
    """The addresses that a page refers to, and its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.elements: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


@pytest.fixture
def workspace(tmp_path: Path, deepspeech: Path) -> Workspace:
    """A trained model that makes mistakes with a speaker whose name is HTML."""
    workspace = make_workspace(tmp_path, deepspeech, HALF)
    data = workspace.root / "data" / "0000000a"
    table = (data / "test.csv").read_text(encoding="utf-8")
    (data / "test.csv").write_text(table.replace("llama a mi hija", "llama a tu hija"), encoding="utf-8")
    with (data / "registry.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (data / "registry.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"speaker": TRICK if row["part"] == "test" else "anna"} for row in rows)
    (workspace.graph.parent / "training.csv").write_text(HISTORY, encoding="utf-8")
    seal(workspace.graph.parent, card().training.model_copy(update={"exported_epoch": 1}))
    return workspace


def made(workspace: Workspace, train_key: str | None = TRAIN) -> str:
    task = workspace.evaluate_input(convert(workspace.convert_input()))
    evaluate(task.model_copy(update={"train_key": train_key, "language": "es"}))
    return (workspace.root / "reports" / EVALUATE / "report.html").read_text(encoding="utf-8")


def test_it_shows_curves_errors_speakers_and_coverage_and_refers_to_nothing_else(workspace: Workspace) -> None:
    text = made(workspace)
    assert "averaged weights" in text
    for part in ("CTC loss", "epoch 2: 11.75", "epoch 2: 0.625", "epoch 1: 0.001", "exported epoch"):
        assert part in text
    for part in (
        "llama a tu hija",
        "llama a mi hija",
        "unseen",
        "Record next",
        "<b><bdi>space</bdi></b>",
        "Length of the clips",
    ):
        assert part in text
    found = References(text)
    assert TRICK not in text and "script" not in found.elements
    assert len(found.addresses) == found.elements.count("audio") > 0
    assert all(address.startswith("data:audio/flac;base64,") for address in found.addresses)
    assert not re.search(r"url\(|@import|https?://", text)
    assert 'llama a mi hija</bdi> <span class="soft"><bdi>CallPerson</bdi>' in with_intent(workspace, "CallPerson")


def with_intent(workspace: Workspace, intent: str) -> str:
    """The page of a finished evaluation, if its wrong answers had this intent."""
    content = (workspace.root / "reports" / EVALUATE / "report.json").read_bytes()
    report = EvaluationReport.model_validate_json(content)
    worst = tuple(each.model_copy(update={"intent": intent}) for each in report.worst)
    dataset = open_dataset(workspace.root / "data" / DATA)
    clips = {clip.name: clip for part in Part for clip in dataset.clips(part)}
    task = workspace.evaluate_input(convert(workspace.convert_input()))
    return page.report_page(task, dataset, report.model_copy(update={"worst": worst}), clips)


def test_recordings_are_bounded_and_a_missing_history_is_said(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MOST_AUDIO_BYTES", 1000)
    (workspace.root / "data" / "0000000a" / "report.json").unlink()
    text = made(workspace, train_key="0000dead")
    assert "audio" not in References(text).elements and "s, not included" in text
    assert "The training history is not available." in text and "Record next" not in text


def test_a_training_by_coqui_is_not_described_as_ours(workspace: Workspace) -> None:
    history = (
        "epoch,step,loss,dev_loss,seconds,clips_per_second,learning_rate,dev_wer\n1,4,12.5,11.75,1.0,20.0,0.001,\n"
    )
    (workspace.graph.parent / "training.csv").write_text(history, encoding="utf-8")
    text = made(workspace)
    assert "CTC loss" in text
    assert "averaged weights" not in text


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("ñ", "ñ"),
        ("\N{DEVANAGARI VOWEL SIGN AA}", "\N{DOTTED CIRCLE}\N{DEVANAGARI VOWEL SIGN AA}"),
        ("\N{ZERO WIDTH NON-JOINER}", "zero width non-joiner"),
        ("\N{IDEOGRAPHIC SPACE}", "ideographic space"),
        ("\ue123", "U+E123"),
    ],
)
def test_a_label_that_cannot_be_seen_alone_has_a_name(label: str, name: str) -> None:
    assert page.label_name(label) == name


@pytest.mark.slow
def test_words_from_right_to_left_keep_their_numbers(workspace: Workspace, deepspeech: Path) -> None:
    prepared = workspace.root / "data" / "0000000a" / "report.json"
    report = json.loads(prepared.read_text(encoding="utf-8"))
    report["coverage"]["rareWords"] = [{"word": "مرآة", "clips": 3}, {"word": "سلام", "clips": 4}]
    prepared.write_text(json.dumps(report), encoding="utf-8")
    made(workspace)
    with chromium(next((deepspeech / "clips").glob("*.wav"))) as browser:
        shown = new_page(browser)
        shown.goto((workspace.root / "reports" / EVALUATE / "report.html").as_uri())
        places = shown.get_by_text("Words with fewer than 5 takes").evaluate(PLACES, ["مرآة", "(3)", "سلام", "(4)"])
    assert places == sorted(places), "a number belongs to the word before it"


@pytest.mark.slow
def test_a_browser_shows_it_in_light_and_dark_and_axe_finds_nothing(workspace: Workspace, deepspeech: Path) -> None:
    made(workspace)
    path = workspace.root / "reports" / EVALUATE / "report.html"
    problems: list[str] = []
    with chromium(next((deepspeech / "clips").glob("*.wav"))) as browser:
        for scheme, width in (("light", 1200), ("dark", 400)):
            shown = new_page(browser, scheme=scheme, width=width)
            shown.on("console", lambda message: problems.append(message.text))
            shown.goto(path.as_uri())
            assert Axe().run(shown).violations_count == 0, Axe().run(shown).generate_report()
            assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert shown.locator("audio").first.evaluate(PLAYABLE_SECONDS) > 0.5
            shown.context.close()
    assert problems == []
