"""The tables at the end of `speechmodel run`."""

import io
from pathlib import Path

from rich.console import Console
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_cli.local.state import ModelState
from speechmodel_cli.summary import Comparison, EvaluationReport, show_summary, show_table
from support.world import World


def table(*clips: Comparison) -> list[str]:
    """The lines of a table, without the spaces at their ends and between columns."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    show_table(console, "unseen voices", clips)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_phrases_are_shown_with_their_confidences() -> None:
    lines = table(
        Comparison(reference="ok espejo", hypothesis="ok espejo", confidence=0.98),
        Comparison(reference="ok espejo", hypothesis="ok espejo", confidence=0.715),
        Comparison(reference="pon música", hypothesis="pon música", confidence=1.0),
    )
    assert "spoken heard confidence" in lines
    assert "ok espejo ok espejo 72% to 98% 2 times" in lines
    assert "pon música pon música 100%" in lines
    assert lines[-1] == "3 of 3 word for word"


def test_free_text_has_the_confidences_of_its_report_and_none_without() -> None:
    clip = {"reference": "ok espejo", "hypothesis": "ok espejo", "confidence": -3.2}
    (before,) = EvaluationReport.model_validate({"results": [clip]}).comparisons()
    assert before.confidence is None, "it was the log score of the beam"
    (now,) = EvaluationReport.model_validate({"results": [clip | {"confidence": 0.9}], "confidence": {}}).comparisons()
    assert now.confidence == 0.9


def test_a_rejected_phrase_is_an_error_and_a_rejected_sentence_is_not() -> None:
    lines = table(
        Comparison(reference="ok espejo", hypothesis="", confidence=None),
        Comparison(reference="", hypothesis="", confidence=0.2),
        Comparison(reference="", hypothesis="ok espejo", confidence=0.9),
    )
    assert "ok espejo (nothing)" in lines
    assert "(something else) (nothing)" in lines
    assert "(something else) ok espejo 90%" in lines
    assert lines[-1] == "0 of 1 word for word; 1 of 2 others rejected"


def test_a_transcript_that_is_no_phrase_must_give_nothing() -> None:
    lines = table(Comparison(reference="qué hora es", hypothesis="", foreign=True))
    assert "qué hora es (nothing)" in lines
    assert lines[-1] == "0 of 0 word for word; 1 of 1 others rejected"
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    show_table(console, "", [Comparison(reference="qué hora es", hypothesis="", foreign=True)])
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[32m(nothing)" in console.file.getvalue(), "it is green"


def test_free_text_has_no_confidences() -> None:
    results = (Comparison(reference="ok", hypothesis="ok", confidence=-0.25),)
    assert EvaluationReport(results=results).comparisons()[0].confidence is None
    assert EvaluationReport(results=results, grammar={"figures": {}}).comparisons()[0].confidence == -0.25
    lines = table(*EvaluationReport(results=results).comparisons())
    assert "spoken heard" in lines
    assert "ok ok" in lines


def test_a_negative_of_the_dataset_is_something_else() -> None:
    report = EvaluationReport(results=(Comparison(reference=CATCH_ALL, hypothesis="", confidence=0.0),), grammar={})
    assert "(something else) (nothing)" in table(*report.comparisons())


def test_a_tflite_file_is_named_at_the_end(tmp_path: Path) -> None:
    world = World()
    world.edit(publish__tflite=True)
    world.to_ready()
    console = Console(file=io.StringIO(), width=200, color_system=None)
    show_summary(console, ModelState(tmp_path), world.status)
    assert isinstance(console.file, io.StringIO)
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    model = world.status.model
    assert model and model.tflite
    assert lines[-2:] == [f"tflite {model.tflite.uri}", f"sha256 {model.tflite.sha256} (2.5 MB)"]
