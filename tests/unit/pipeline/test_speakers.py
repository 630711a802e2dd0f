"""The speakers of recordings: from a column, from the layout, or guessed from what file names share."""

from pathlib import Path

import pytest
from speechmodel_pipeline.prepare.commands_csv import read_commands
from speechmodel_pipeline.prepare.deepspeech_csv import read_deepspeech
from speechmodel_pipeline.prepare.layout import assign
from speechmodel_pipeline.prepare.speakers import guess_from_paths, guess_speakers

DIGITS = [f"{digit}_{who}_{take}.wav" for digit in "0123" for who in ("jackson", "lucas") for take in "01"]


def takes_before_speakers(form: str, *who: str) -> list[str]:
    return [
        form.format(id=id_, take=take, who=speaker)
        for id_ in ("ok", "no")
        for speaker in who or ("ana", "bo", "eva")
        for take in range(1, 6)
    ]


def guessed(names: list[str], ids: tuple[str, ...]) -> set[str]:
    return set(guess_speakers(assign(names, ids).readings).values())


@pytest.mark.parametrize(
    ("names", "ids", "speakers"),
    [
        (DIGITS, tuple("0123"), {"jackson", "lucas"}),
        (["ok_f1-again.wav", "ok_f1.wav", "no_f1.wav", "ok_m2.wav", "no_m2.wav"], ("ok", "no"), {"f1", "m2"}),
        (["ok/a1b2_nohash_0.wav", "no/a1b2_nohash_0.wav", "ok/c3d4_nohash_1.wav", "no/c3d4_nohash_0.wav"],
         ("ok", "no"), {"a1b2", "c3d4"}),
        (["anna_ok_1.wav", "anna_no_1.wav", "otto_ok_1.wav", "otto_no_1.wav"], ("ok", "no"), {"anna", "otto"}),
        (["hey_anna_1.wav", "hey_anna_2.wav", "hey_otto_1.wav", "hey_otto_2.wav"], ("hey",), {"anna", "otto"}),
        (["a1b2c3d4_ok_0.wav", "a1b2c3d4_no_0.wav", "11099149_ok_0.wav", "11099149_no_0.wav"],
         ("ok", "no"), {"a1b2c3d4", "11099149"}),  # a hash without letters
        (["anna_ok_1.wav", "anna_no_1.wav", "otto_ok_1.wav", "otto_no_1.wav", "11099149_no_1.wav"],
         ("ok", "no"), {"anna", "otto"}),
        (["ok_1.wav", "ok_2.wav", "no_1.wav", "no_2.wav"], ("ok", "no"), set()),  # takes
        (["ok.wav", "no.wav"], ("ok", "no"), set()),
        (["ok_a.wav", "ok_b.wav", "no_c.wav", "no_d.wav"], ("ok", "no"), set()),  # shared by nothing
        (["ok_mirror.wav", "no_mirror.wav"], ("ok", "no"), set()),  # one word for all
        ([f"shapes_{n}a_2_3_{id_}_001.wav" for n, id_ in enumerate(("ok", "no"))], ("ok", "no"), set()),
        ([f"{id_}_take{take}.wav" for id_ in ("ok", "no") for take in (1, 2, 3)], ("ok", "no"), set()),
        ([f"{id_}_v{take}-final.wav" for id_ in ("ok", "no") for take in (1, 2, 3)], ("ok", "no"), set()),
        ([f"{id_}-{take}.wav" for id_ in ("ok", "no") for take in "abc"], ("ok", "no"), set()),
        ([f"{id_}_2024050{day}_101{take}00.wav" for id_ in ("ok", "no") for day in "345" for take in "12"],
         ("ok", "no"), set()),
        ([f"{id_}_spk{number}_{take}.wav" for id_ in ("ok", "no") for number in "12" for take in "12"],
         ("ok", "no"), {"spk1", "spk2"}),
        ([f"{id_}-{who}.wav" for id_ in ("ok", "no") for who in "fm"], ("ok", "no"), {"f", "m"}),
        (takes_before_speakers("{id}_{take}_{who}.wav"), ("ok", "no"), {"ana", "bo", "eva"}),
        (takes_before_speakers("{id}_{take:03}_{who}.wav"), ("ok", "no"), {"ana", "bo", "eva"}),
        (takes_before_speakers("{id}-take{take}-{who}.wav"), ("ok", "no"), {"ana", "bo", "eva"}),
        (takes_before_speakers("{id}/{take}_{who}.wav"), ("ok", "no"), {"ana", "bo", "eva"}),
        (takes_before_speakers("{take}_{who}_{id}.wav"), ("ok", "no"), {"ana", "bo", "eva"}),
        (takes_before_speakers("{id}_{take}_{who}.wav", "ana"), ("ok", "no"), set()),
        ([f"{id_}_{who}_take{take}.wav" for id_ in ("ok", "no") for who in ("01", "02", "03") for take in (1, 2)],
         ("ok", "no"), {"01", "02", "03"}),
        ([f"{id_}_{who}_{take}.wav" for id_ in ("ok", "no") for who in "123" for take in "ab"],
         ("ok", "no"), {"1", "2", "3"}),
        ([f"{id_}_{who}_{how}.wav" for id_ in ("ok", "no") for who in ("n1", "n2", "n3") for how in ("quiet", "noisy")],
         ("ok", "no"), {"n1", "n2", "n3"}),
        ([f"{id_}_{number}_nohash_{take}.wav" for id_ in ("ok", "no") for number in (7, 8, 9) for take in "01"],
         ("ok", "no"), {"7", "8", "9"}),
        ([f"{id_}_{number}_{room}_{take}.wav" for id_ in ("ok", "no") for number in (7, 8) for room in ("hall", "car")
          for take in "01"], ("ok", "no"), {"7", "8"}),
        ([f"{id_}_{number}_{take}.wav" for id_ in ("ok", "no") for number in (7, 8) for take in "01"],
         ("ok", "no"), {"7", "8"}),
    ],
)  # fmt: skip
def test_a_word_that_file_names_share_after_their_ids_is_the_speaker(
    names: list[str], ids: tuple[str, ...], speakers: set[str]
) -> None:
    assert guessed(names, ids) == speakers


@pytest.mark.parametrize(
    ("transcripts", "speakers"),
    [
        ({f"LJ00{chapter}-000{line}": f"line {chapter} {line}" for chapter in "123" for line in "12"}, set()),
        ({f"{word}/{take}.wav": word for word in ("luz", "radio") for take in "12"}, set()),  # labels
        ({f"2024-05-0{day}/{take}.wav": f"{day} {take}" for day in "12" for take in "12"}, set()),
        ({f"{who}/{take}.wav": "hey" for who in ("ana", "bo") for take in "12"}, {"ana", "bo"}),  # one wake word
        ({f"p22{who}_{line}.wav": f"line {line}" for who in "56" for line in "12"}, {"p225", "p226"}),
        ({f"{who}_{word}.wav": word for who in ("ana", "bo") for word in ("luz", "radio")}, {"ana", "bo"}),
        (
            {f"{who}_{line}x.wav": f"line {line}" for who, lines in (("ana", "12"), ("bo", "34")) for line in lines},
            {"ana", "bo"},
        ),
        (
            {f"vm-{word}.wav": word for word in ("hi", "bye")} | {f"conf-{word}.wav": word for word in ("in", "out")},
            set(),
        ),
        (
            {
                name: name
                for name in ("ana/luz cocina.wav", "ana/buenos dias.wav", "bo/radio apagada.wav", "bo/musica.wav")
            },
            {"ana", "bo"},
        ),
    ],
)
def test_chapters_labels_and_dates_are_no_speakers(transcripts: dict[str, str], speakers: set[str]) -> None:
    assert set(guess_from_paths(transcripts).values()) == speakers


def dataset(folder: Path, table: str, *names: str) -> Path:
    (folder / "commands.csv").write_text(table, encoding="utf-8")
    for name in names:
        path = folder / "original/es" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    ("table", "names", "source", "speakers"),
    [
        ("id,es,speaker\nok,ok,Anna\nno,no,\n", ("ok.wav", "no.wav"), "Column", ["Anna", None]),
        ("id,es,Client_ID\nok,ok,77\nno,no,78\n", ("x/ok.wav", "y/no.wav"), "Column", ["77", "78"]),
        ("id,es,speaker\nok,ok,\nno,no,\n", ("anna/ok.wav", "otto/no.wav"), "Layout", ["anna", "otto"]),
        ("id,es\nok,ok\nno,no\n", ("ok_an.wav", "ok_bo.wav", "no_an.wav", "no_bo.wav"), "Guessed", ["an", "bo"] * 2),
        ("id,es\nok,ok\nno,no\n", ("ok_1.wav", "no_1.wav"), None, [None, None]),
        ("id,es\nok,ok\nno,no\n", ("2024-05-01/ok.wav", "2024-05-02/no.wav"), None, [None, None]),
    ],
)
def test_a_column_is_believed_before_the_layout_and_the_layout_before_a_guess(
    table: str, names: tuple[str, ...], source: str | None, speakers: list[str | None], tmp_path: Path
) -> None:
    listing = read_commands(dataset(tmp_path, table, *names), "es")
    assert listing.speakers_from == source
    assert [recording.speaker for recording in listing.recordings] == speakers


def test_deepspeechs_tables_may_have_a_column_for_the_speaker(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "train.csv").write_text("wav_filename,client_id,transcript\na.wav,7f3a,hola\n")
    listing = read_deepspeech(tmp_path)
    assert (listing.recordings[0].speaker, listing.speakers_from) == ("7f3a", "Column")


def test_the_column_split_decides_the_part(tmp_path: Path) -> None:
    table = "id,es,Split\na,a,train\nb,b,Validation\nc,c,TEST\nd,d,\ne,e,later\n"
    listing = read_commands(dataset(tmp_path, table, *(f"{id_}.wav" for id_ in "abcde")), "es")
    assert [recording.part for recording in listing.recordings] == ["train", "dev", "test", None]
    (rejection,) = listing.rejected
    assert (rejection.row, rejection.reason) == (6, "MalformedRow")
    assert "the split 'later' is unknown; use train, dev or test, or leave the cell empty" in rejection.message
