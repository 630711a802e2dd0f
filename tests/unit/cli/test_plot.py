"""`speechmodel plot`: the curves of the newest training, and what is wrong when there are none."""

import io
import sys
from pathlib import Path

import pytest
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import SpeechModelStatus, StageState, StageStatus
from speechmodel_cli.command_line import main
from speechmodel_cli.local.state import ModelState

HEADER = "epoch,step,loss,dev_loss,seconds,clips_per_second,learning_rate,dev_wer\n"
ROWS = "1,10,30.5,28.25,1.0,20.0,0.001,1.0\n2,20,12.5,11.75,1.0,20.0,0.0005,0.625\n"
OLD = "epoch,step,loss,dev_loss,seconds,clips_per_second\n1,10,30.5,,1.0,20.0\n"
TRAINED = StageStatus(name=StageName.TRAIN, key="1a2b3c4d", state=StageState.SUCCEEDED, attempt=1, failures=0)


@pytest.fixture
def state(tmp_path: Path) -> ModelState:
    state = ModelState(tmp_path / "espejo")
    state.folder.mkdir()
    (state.folder / "model.json").write_text("{}")
    return state


def write(state: ModelState, place: str, content: str) -> None:
    path = state.workspace / place / "training.csv"
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")


def run(state: ModelState, *arguments: str) -> int:
    return main(["plot", "--state", str(state.folder.parent), *arguments])


def test_a_running_training_is_drawn(state: ModelState, capsys: pytest.CaptureFixture[str]) -> None:
    write(state, "checkpoints/0000000a", HEADER + ROWS)
    assert run(state, "espejo") == 0
    shown = capsys.readouterr().out
    for expected in (
        "CTC loss",
        "training, last 12.5",
        "dev, last 11.75",
        "dev, last 0.625",
        "learning rate, last 0.0005",
    ):
        assert expected in shown
    assert "\x1b" not in shown


def test_a_finished_training_is_drawn_from_its_export(state: ModelState, capsys: pytest.CaptureFixture[str]) -> None:
    state.write_status(SpeechModelStatus(stages=(TRAINED,)))
    write(state, "checkpoints/0000000a", HEADER)
    write(state, "exports/1a2b3c4d", OLD)
    assert run(state, "espejo") == 0
    shown = capsys.readouterr().out
    assert "training, last 30.5" in shown
    assert "Word error rate" not in shown and "Learning rate" not in shown


def test_a_terminal_without_unicode_gets_the_curves_in_ascii(
    state: ModelState, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(state, "checkpoints/0000000a", HEADER + ROWS)
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="iso-8859-1"))
    assert run(state, "espejo") == 0
    sys.stdout.flush()
    text = shown.getvalue().decode("ascii")
    assert "** training, last 12.5" in text and "xx dev, last 11.75" in text
    assert "?" not in text and "+" in text and "|" in text


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308", "1e30", "-1e308"])
def test_values_that_are_no_numbers_are_left_out(
    value: str, state: ModelState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(state, "checkpoints/0000000a", f"{HEADER}{ROWS}3,30,{value},11.5,1.0,20.0,0.0005,{value}\n")
    assert run(state, "espejo") == 0
    shown = capsys.readouterr().out
    assert "training, last 12.5" in shown and "dev, last 11.5" in shown and "dev, last 0.625" in shown
    assert run(state, "espejo", "--png", str(tmp_path / "curves")) == 0


def test_a_png_is_written(state: ModelState, tmp_path: Path) -> None:
    write(state, "checkpoints/0000000a", HEADER + ROWS)
    assert run(state, "espejo", "--png", str(tmp_path / "curves")) == 0
    assert (tmp_path / "curves").read_bytes().startswith(b"\x89PNG")


def test_a_png_goes_to_stdout(state: ModelState, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write(state, "checkpoints/0000000a", HEADER + ROWS)
    assert run(state, "espejo", "--png", "-") == 0
    sys.stdout.flush()
    assert capfdbinary.readouterr().out.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["curves.jpg", "curves.SVG", "curves.pdf", "curves.html"])
def test_the_ending_of_another_format_is_refused(
    name: str, state: ModelState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(state, "checkpoints/0000000a", HEADER + ROWS)
    assert run(state, "espejo", "--png", str(tmp_path / name)) == 1
    assert f"{name} has the ending of another format; use curves.png" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "espejo has not begun to train; `speechmodel status espejo` shows"),
        (HEADER, "no epoch is finished yet"),
        (f"{HEADER}{ROWS}3,x,y\n", "training.csv is damaged: line 4 has y in the column loss"),
        (f"{HEADER}{ROWS}3,", "training.csv is damaged: line 4 has nothing in the column loss"),
        (
            HEADER.replace(",", ";") + ROWS.replace(",", ";"),
            "training.csv is damaged: line 2 has nothing in the column epoch",
        ),
        ("nothing\n1\n", "training.csv is damaged: line 2 has nothing in the column epoch"),
    ],
)
def test_nothing_to_draw_is_said(
    content: str | None, message: str, state: ModelState, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        write(state, "checkpoints/0000000a", content)
    assert run(state, "espejo") == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("drawn", [(), ("--png", "curves.png")], ids=["terminal", "png"])
def test_a_history_without_a_number_is_reported(
    drawn: tuple[str, ...],
    state: ModelState,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(state, "checkpoints/0000000a", f"{HEADER}1,10,nan,inf,1.0,20.0,nan,nan\n")
    assert run(state, "espejo", *drawn) == 1
    assert "training.csv can be drawn: all are empty, infinite, above 1e+09 or NaN" in capsys.readouterr().err


def test_an_unknown_model_is_named(state: ModelState, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(state, "spiegel") == 1
    assert "no model spiegel in" in capsys.readouterr().err
