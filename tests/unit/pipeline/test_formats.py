"""Datasets as other toolkits and people keep them: what each folder gives, and what is said about a bad one."""

import tracemalloc
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest
from speechmodel_api.dataset_spec import DatasetFormat
from speechmodel_pipeline.prepare.formats import list_recordings
from speechmodel_pipeline.prepare.recordings import Listing, is_file
from speechmodel_stagekit.errors import BadData

Files = Mapping[str, str]
HEADER = "client_id\tpath\tsentence\tup_votes\n"


def folder_of(files: Files, folder: Path) -> Path:
    """Write a folder; recordings are empty, because no audio is read here."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode("latin-1" if "latin" in name else "utf-8"))
    return folder


def listing_of(layout: DatasetFormat, files: Files, folder: Path, language: str = "es") -> Listing:
    return list_recordings(folder_of(files, folder), layout, language)


def told(listing: Listing) -> list[tuple[str, str, str | None, str | None]]:
    return [(each.name, each.transcript, each.speaker, each.part) for each in listing.recordings]


def recordings(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


COMMON_VOICE = recordings("clips/a.mp3", "clips/b.mp3", "clips/c.mp3")


def test_common_voice_without_official_parts_leaves_them_to_the_split(tmp_path: Path) -> None:
    files = {"validated.tsv": HEADER + "x1\ta.mp3\tHola\t2\nx2\tb\tAdiós\t2\n", **COMMON_VOICE}
    listing = listing_of(DatasetFormat.COMMON_VOICE, files, tmp_path)
    assert told(listing) == [("clips/a.mp3", "Hola", "x1", None), ("clips/b.mp3", "Adiós", "x2", None)]
    assert (listing.speakers_from, listing.rows) == ("Column", 2)


@pytest.mark.parametrize("train", ["", HEADER])
def test_common_voice_without_rows_to_train_on_is_divided_by_the_split(train: str, tmp_path: Path) -> None:
    tables = {"train.tsv": train, "test.tsv": HEADER + "x1\ta.mp3\tHola\t2\n"}
    files = {**tables, "validated.tsv": HEADER + "x1\ta.mp3\tHola\t2\nx2\tb\tAdiós\t2\n", **COMMON_VOICE}
    listing = listing_of(DatasetFormat.COMMON_VOICE, files, tmp_path)
    assert told(listing) == [("clips/a.mp3", "Hola", "x1", None), ("clips/b.mp3", "Adiós", "x2", None)]


@pytest.mark.parametrize("language", ["zh-CN", "zh"])
@pytest.mark.parametrize("folder", ["ZH-cn", "cv-corpus-17.0-2024-03-15/zh-CN"])
def test_common_voice_may_be_unpacked_as_it_is(folder: str, language: str, tmp_path: Path) -> None:
    header = "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tvariant\tlocale\tsegment\n"
    files = {f"{folder}/validated.tsv": header + "x1\ta.mp3\ts\t你好\t\t2\t\tzh-CN\t\n", f"{folder}/clips/a.mp3": ""}
    listing = listing_of(DatasetFormat.COMMON_VOICE, files, tmp_path, language)
    assert told(listing) == [(f"{folder}/clips/a.mp3", "你好", "x1", None)]


def test_of_several_releases_of_common_voice_none_is_guessed(tmp_path: Path) -> None:
    files = {
        f"cv-corpus-{number}.0/es/{name}": HEADER for number in (16, 17) for name in ("validated.tsv", "clips/a.mp3")
    }
    with pytest.raises(BadData, match=r"validated.tsv or train.tsv is missing; in .* cv-corpus-16.0, cv-corpus-17.0"):
        listing_of(DatasetFormat.COMMON_VOICE, files, tmp_path)


def test_clips_of_common_voice_may_be_converted(tmp_path: Path) -> None:
    rows = "x1\ta.mp3\tHola\t2\nx2\tb.mp3\tBien\t2\nx3\tgone.mp3\tMal\t2\n"
    files = {"validated.tsv": HEADER + rows, **recordings("clips/a.wav", "clips/a.mp3", "clips/b.WAV")}
    listing = listing_of(DatasetFormat.COMMON_VOICE, files, tmp_path)
    assert [each.name for each in listing.recordings] == ["clips/a.mp3", "clips/b.WAV"]
    assert [each.message for each in listing.rejected] == [
        "the recording gone.mp3 is missing; paths are relative to clips"
    ]


def test_clips_of_common_voice_may_be_named_with_their_folder_or_without_their_ending(tmp_path: Path) -> None:
    rows = "x1\tclips/a.mp3\tHola\t2\nx2\tb\tBien\t2\nx3\tc\tMal\t2\n"
    files = {"validated.tsv": HEADER + rows, **recordings("clips/a.mp3", "clips/b.wav", "clips/c.mp3")}
    listing = listing_of(DatasetFormat.COMMON_VOICE, files, tmp_path)
    assert [each.name for each in listing.recordings] == ["clips/a.mp3", "clips/b.wav", "clips/c.mp3"]


DECOMPOSED = unicodedata.normalize("NFD", "canción")


@pytest.mark.parametrize(
    ("layout", "files", "name"),
    [
        ("AudioFolder", {"metadata.csv": "file_name,text\nñ/canción.wav,hola\n"}, f"n\u0303/{DECOMPOSED}.wav"),
        ("AudioFolder", {"metadata.csv": f"file_name,text\n{DECOMPOSED}.wav,hola\n"}, "canción.wav"),
        ("AudioFolder", {"metadata.csv": "LJ1|hola\n"}, "wavs/LJ1.WAV"),
        ("LibriSpeech", {"1/2/1-2.trans.txt": "1-2-0 hola\n"}, "1/2/1-2-0.FLAC"),
        ("Kaldi", {"wav.scp": "u1 wavs/canción.wav\n", "text": "u1 hola\n"}, f"wavs/{DECOMPOSED}.Wav"),
        ("CommonVoice", {"validated.tsv": HEADER + "x\tcanción.mp3\thola\t2\n"}, f"clips/{DECOMPOSED}.MP3"),
    ],
)
def test_a_name_in_another_form_of_unicode_or_case_of_its_ending_is_found(
    layout: str, files: Files, name: str, tmp_path: Path
) -> None:
    listing = listing_of(DatasetFormat(layout), {**files, name: ""}, tmp_path)
    assert [(each.name, each.transcript) for each in listing.recordings] == [(name, "hola")]


def test_a_missing_file_is_looked_for_once_under_each_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for: list[str] = []

    def counted(path: Path) -> bool:
        looked_for.append(path.name)
        return is_file(path)

    monkeypatch.setattr("speechmodel_pipeline.prepare.recordings.is_file", counted)
    listing_of(DatasetFormat.LIBRISPEECH, {"1/2/1-2.trans.txt": "1-2-0 hola\n"}, tmp_path)
    with_ending = [name for name in looked_for if "." in name]
    assert with_ending[0] == "1-2-0.flac"
    assert len(with_ending) == len(set(with_ending)) > 5


def test_a_name_that_two_files_have_in_other_forms_is_not_guessed(tmp_path: Path) -> None:
    files = {"metadata.csv": "file_name,text\na.Wav,hola\nA.wav,adiós\n", **recordings("a.WAV", "a.wav")}
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, files, tmp_path)
    assert [(each.row, each.reason) for each in listing.rejected] == [(2, "NoRecording"), (3, "NoRecording")]


def test_the_official_parts_of_common_voice_win(tmp_path: Path) -> None:
    files = {
        "validated.tsv": HEADER + "x1\ta.mp3\tHola\t2\n",
        "train.tsv": HEADER + "x1\ta.mp3\tHola\t2\n",
        "dev.tsv": HEADER + "x2\tb.mp3\tBien\t2\n",
        "test.tsv": HEADER + "x3\tc.mp3\tMal\t2\n",
        **COMMON_VOICE,
    }
    listing = listing_of(DatasetFormat.COMMON_VOICE, files, tmp_path)
    assert [(each.file, each.speaker, each.part) for each in listing.recordings] == [
        ("train.tsv", "x1", "train"),
        ("dev.tsv", "x2", "dev"),
        ("test.tsv", "x3", "test"),
    ]


def test_common_voice_may_be_in_the_folder_of_the_language(tmp_path: Path) -> None:
    files = {"es/validated.tsv": HEADER + "x1\ta.mp3\tHola\t2\n", "es/clips/a.mp3": ""}
    listing = listing_of(DatasetFormat.COMMON_VOICE, files, tmp_path, "es-CL")
    assert told(listing) == [("es/clips/a.mp3", "Hola", "x1", None)]


def test_quotation_marks_in_common_voice_hide_no_row(tmp_path: Path) -> None:
    rows = 'x1\ta.mp3\t"Hola, dijo\t2\nx2\tb.mp3\tBien"\t2\nx3\tc.mp3\t"Sí" dijo\t2\n'
    listing = listing_of(DatasetFormat.COMMON_VOICE, {"validated.tsv": HEADER + rows, **COMMON_VOICE}, tmp_path)
    assert [each.transcript for each in listing.recordings] == ['"Hola, dijo', 'Bien"', '"Sí" dijo']


def test_librispeech_has_the_speaker_in_the_names(tmp_path: Path) -> None:
    files = {
        "19/198/19-198.trans.txt": "19-198-0000 NORTHANGER ABBEY\n19-198-0001  THIS LITTLE WORK\n19-198-0002\n",
        "26/495/26-495.trans.txt": "\ufeff26-495-0000 HE WAS\r\n",
        **recordings("19/198/19-198-0000.flac", "19/198/19-198-0001.wav", "19/198/19-198-0002.flac"),
        **recordings("26/495/26-495-0000.flac", "26/495/26-495-0001.flac"),
    }
    listing = listing_of(DatasetFormat.LIBRISPEECH, files, tmp_path)
    assert told(listing) == [
        ("19/198/19-198-0000.flac", "NORTHANGER ABBEY", "19", None),
        ("19/198/19-198-0001.wav", "THIS LITTLE WORK", "19", None),
        ("19/198/19-198-0002.flac", "", "19", None),
        ("26/495/26-495-0000.flac", "HE WAS", "26", None),
    ]
    assert listing.unnamed_files == ("26/495/26-495-0001.flac",)
    assert listing.speakers_from == "Layout"


def test_hidden_files_of_macos_are_no_chapters(tmp_path: Path) -> None:
    files = {
        "train-clean-100/1/2/1-2.trans.txt": "1-2-0 A\n",
        "train-clean-100/1/2/1-2-0.flac": "",
        "train-clean-100/1/2/._1-2.trans.txt": "Mac OS X",
        "__MACOSX/train-clean-100/1/2/._1-2.trans.txt": "Mac OS X",
    }
    listing = listing_of(DatasetFormat.LIBRISPEECH, files, tmp_path)
    assert (listing.rows, [each.transcript for each in listing.recordings]) == (1, ["A"])


def test_subsets_of_librispeech_are_the_parts(tmp_path: Path) -> None:
    files = {
        "LibriSpeech/train-clean-100/1/2/1-2.trans.txt": "1-2-0 A\n",
        "LibriSpeech/train-clean-100/1/2/1-2-0.flac": "",
        "LibriSpeech/dev-clean/3/4/3-4.trans.txt": "3-4-0 B\n",
        "LibriSpeech/dev-clean/3/4/3-4-0.flac": "",
    }
    parts = [each.part for each in listing_of(DatasetFormat.LIBRISPEECH, files, tmp_path).recordings]
    assert parts == ["dev", "train"]


def test_one_subset_alone_leaves_the_parts_to_the_split(tmp_path: Path) -> None:
    files = {"train-clean-100/1/2/1-2.trans.txt": "1-2-0 A\n", "train-clean-100/1/2/1-2-0.flac": ""}
    assert told(listing_of(DatasetFormat.LIBRISPEECH, files, tmp_path))[0][3] is None


@pytest.mark.parametrize(
    "files",
    [
        {"metadata.csv": "\ufeffFile_Name;Text;Speaker_ID\na.wav;Hola, tú;ana\nx/b.wav;Bien;bo\n"},
        {"metadata.csv": 'file_name,transcription,speaker\na.wav,"Hola, tú",ana\nx\\b.wav,Bien,bo\n'},
        {
            "metadata.jsonl": '{"file_name": "a.wav", "text": " Hola, tú ", "speaker_id": "ana", "n": 1}\n\n'
            '{"file_name": "x/b.wav", "text": "Bien", "speaker_id": "bo", "n": null}\n'
        },
    ],
    ids=["spreadsheet", "CSV", "JSON Lines"],
)
def test_an_audio_folder_has_one_table_for_its_files(files: Files, tmp_path: Path) -> None:
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, {**files, **recordings("a.wav", "x/b.wav", "x/c.wav")}, tmp_path)
    assert told(listing) == [("a.wav", "Hola, tú", "ana", None), ("x/b.wav", "Bien", "bo", None)]
    assert listing.unnamed_files == ("x/c.wav",)
    assert listing.speakers_from == "Column"


@pytest.mark.parametrize(
    "files",
    [
        {
            "train/metadata.csv": "file_name,text\na.wav,uno\n",
            "validation/metadata.csv": "file_name,text\nb.wav,dos\n",
            "test/metadata.csv": "file_name,text\nc.wav,tres\n",
        },
        {"metadata.csv": "file_name,text\ntrain/a.wav,uno\nvalidation/b.wav,dos\ntest/c.wav,tres\n"},
        {
            "metadata.csv": "file_name,text,split\ntrain/a.wav,uno,\nvalidation/b.wav,dos,validation\ntest/c.wav,tres,Test\n"
        },
    ],
    ids=["a table in each", "one table", "a column"],
)
def test_folders_and_a_column_are_the_parts_of_an_audio_folder(files: Files, tmp_path: Path) -> None:
    audio = recordings("train/a.wav", "validation/b.wav", "test/c.wav")
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, {**files, **audio}, tmp_path)
    assert {each.name: each.part for each in listing.recordings} == {
        "train/a.wav": "train",
        "validation/b.wav": "dev",
        "test/c.wav": "test",
    }
    assert listing.speakers_from is None


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        (DatasetFormat.DEEPSPEECH_CSV, {"train.csv": "wav_filename,transcript\na.wav,uno\nb.wav,dos\n"}),
        (DatasetFormat.AUDIO_FOLDER, {"metadata.csv": "file_name,text,split\na.wav,uno,train\nb.wav,dos,train\n"}),
        (DatasetFormat.COMMANDS, {"commands.csv": "id,es,split\na,uno,train\nb,dos,train\n"}),
    ],
)
def test_a_single_part_leaves_the_parts_to_the_split(layout: DatasetFormat, files: Files, tmp_path: Path) -> None:
    audio = recordings("a.wav", "b.wav", "original/es/a.wav", "original/es/b.wav")
    listing = listing_of(layout, {**files, **audio}, tmp_path)
    assert [each.part for each in listing.recordings] == [None, None]


def test_speakers_that_no_column_names_are_guessed_from_folders(tmp_path: Path) -> None:
    names = ("ana/1.wav", "ana/2.wav", "bo/1.wav", "bo/2.wav")
    rows = "".join(f"{name},hola\n" for name in names)
    files = {"metadata.csv": f"file_name,text\n{rows}", **recordings(*names)}
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, files, tmp_path)
    assert [each.speaker for each in listing.recordings] == ["ana", "ana", "bo", "bo"]
    assert listing.speakers_from == "Guessed"


def test_ljspeech_has_no_header_and_the_last_cell_is_spoken(tmp_path: Path) -> None:
    rows = 'LJ001-0001|"Printing, in 1|"Printing, in one\nLJ001-0002|same.|same.\nwavs/LJ001-0003.wav|only\n'
    audio = recordings("wavs/LJ001-0001.wav", "wavs/LJ001-0002.wav", "wavs/LJ001-0003.wav")
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, {"metadata.csv": rows, **audio}, tmp_path)
    assert [(each.row, each.name, each.transcript) for each in listing.recordings] == [
        (1, "wavs/LJ001-0001.wav", '"Printing, in one'),
        (2, "wavs/LJ001-0002.wav", "same."),
        (3, "wavs/LJ001-0003.wav", "only"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "sep=|\nfile_name|text|speaker\nwavs/1.wav|hola|ana\nwavs/2.wav|adiós|bo\n",
        '"file_name"|"text"|"speaker"\n"wavs/1.wav"|"hola"|"ana"\n"wavs/2.wav"|"adiós"|"bo"\n',
        "file_name|text|speaker\nwavs/1.wav|hola|ana\nwavs/2.wav|adiós|bo\n".encode("utf-16"),
        "\nFile-Name|Text|Speaker\nwavs/1.wav|hola|ana\nwavs/2.wav|adiós|bo\n",
    ],
    ids=["sep", "quoted", "UTF-16", "blank line"],
)
def test_a_header_between_bars_is_no_row_of_ljspeech(content: str | bytes, tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / "wavs").mkdir(exist_ok=True)
        (tmp_path / "wavs" / f"{name}.wav").touch()
    (tmp_path / "metadata.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    listing = list_recordings(tmp_path, DatasetFormat.AUDIO_FOLDER, "es")
    assert [(each.transcript, each.speaker) for each in listing.recordings] == [("hola", "ana"), ("adiós", "bo")]
    assert listing.rejected == ()


PROMPTS = "; Prompts\n\nwelcome~ Buenos días.\nlevels/1 ~ uno: dos\nno separator\nbeep.gsm~ \n# welcome~ no\n"


@pytest.mark.parametrize("separator", [":", "|", "\t"])
def test_a_list_of_prompts_is_an_audio_folder(separator: str, tmp_path: Path) -> None:
    files = {"prompts.txt": PROMPTS.replace("~", separator), "LICENSE.txt": "Terms: none\n"}
    audio = recordings("welcome.gsm", "welcome.g722", "levels/1.ulaw", "beep.gsm", "other.sln")
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, {**files, **audio}, tmp_path)
    assert [(each.file, each.row, each.name, each.transcript) for each in listing.recordings] == [
        ("prompts.txt", 3, "welcome.g722", "Buenos días."),  # the higher rate of two formats
        ("prompts.txt", 4, "levels/1.ulaw", "uno: dos"),
        ("prompts.txt", 6, "beep.gsm", ""),
    ]
    assert listing.unnamed_files == ("other.sln",)
    assert listing.rows == 4
    shown = "tab" if separator == "\t" else f"'{separator}'"
    assert [str(each) for each in listing.rejected] == [
        f"prompts.txt row 5: has no {shown}; write the name of the recording, {shown} and the text in one line"
    ]


@pytest.mark.parametrize(
    ("name", "rows", "folder"),
    [
        ("transcript.txt", "a/1.wav|Año 5.|año cinco|3.92\na/2.wav|Sí.|Sí.|1.5\n", "a"),  # CSS10
        (
            "train.txt",
            "wavs/1.wav|0|año cinco\nwavs/2.wav|0|Sí.\n",
            "wavs",
        ),  # the second cell is the number of the speaker
        ("line_index.tsv", "1\taño cinco\n2\tSí.\n", "wavs"),
        ("1.tsv", "1\tAño 5.\taño cinco\t3.92\n2\t7\tSí.\n", "wavs"),
        ("1.tsv", "file_name\tspeaker\ttext\nwavs/1\tana\taño cinco\nwavs/2.wav\tbo\tSí.\n", "wavs"),
    ],
)
def test_lists_of_sentences_that_one_person_reads_are_audio_folders(
    name: str, rows: str, folder: str, tmp_path: Path
) -> None:
    files = {name: rows, **recordings(f"{folder}/1.wav", f"{folder}/2.wav")}
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, files, tmp_path)
    assert [(each.name, each.transcript) for each in listing.recordings] == [
        (f"{folder}/1.wav", "año cinco"),
        (f"{folder}/2.wav", "Sí."),
    ]
    assert (listing.rejected, listing.unnamed_files) == ((), ())


def test_a_list_with_a_header_may_name_the_speakers(tmp_path: Path) -> None:
    files = {"list.tsv": "file_name\tspeaker\ttext\na\tana\tHola\nb.wav\tbo\tAdiós\n", **recordings("a.wav", "b.wav")}
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, files, tmp_path)
    assert told(listing) == [("a.wav", "Hola", "ana", None), ("b.wav", "Adiós", "bo", None)]
    assert (listing.speakers_from, listing.rows, listing.rejected) == ("Column", 2, ())


@pytest.mark.parametrize("separator", ["|", "\t"])
def test_the_speaker_in_a_list_is_not_trained_as_text(separator: str, tmp_path: Path) -> None:
    rows = ("a ana Hola", "b ana Adiós", "c bo Sí", "d bo No")
    files = {"list.tsv": "".join(f"{row}\n".replace(" ", separator) for row in rows), **recordings("a.wav")}
    with pytest.raises(
        BadData, match=r"list.tsv row 1: the third cell 'Hola' should be the text 'ana' as it is spoken"
    ):
        listing_of(DatasetFormat.AUDIO_FOLDER, files, tmp_path)


def test_a_long_text_beside_the_recordings_is_not_read_into_memory(tmp_path: Path) -> None:
    sentence = "una frase para el modelo del idioma\n"
    files = {"prompts.txt": "bye: Adiós\n", "scorer.txt": 300_000 * sentence, **recordings("bye.wav")}
    folder = folder_of(files, tmp_path)
    tracemalloc.start()
    try:
        listing = list_recordings(folder, DatasetFormat.AUDIO_FOLDER, "es")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [each.transcript for each in listing.recordings] == ["Adiós"]
    assert most < len(files["scorer.txt"]) // 4


@pytest.mark.parametrize("layout", DatasetFormat)
def test_a_source_that_is_no_folder_is_named_in_every_format(layout: DatasetFormat, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"absent is not a folder; correct dataset\.source$"):
        list_recordings(tmp_path / "absent", layout, "es")


def test_a_list_of_prompts_in_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"latin.txt is not UTF-8 \(line 1\); save it as UTF-8"):
        listing_of(DatasetFormat.AUDIO_FOLDER, {"latin.txt": "bye: Adiós\n", "bye.wav": ""}, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_of_prompts_may_begin_with_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes("bye: Adiós\r\n".encode(encoding))
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, recordings("bye.wav"), tmp_path)
    assert [(each.name, each.transcript) for each in listing.recordings] == [("bye.wav", "Adiós")]


def test_prompts_in_one_voice_are_not_taken_for_speakers_by_their_topics(tmp_path: Path) -> None:
    names = ("vm-goodbye", "vm-no", "conf-full", "conf-enter-pin", "queue-no", "queue-thanks")
    files = {
        "prompts.txt": "".join(f"{name}: frase {name}\n" for name in names),
        **recordings(*(f"{n}.wav" for n in names)),
    }
    listing = listing_of(DatasetFormat.AUDIO_FOLDER, files, tmp_path)
    assert {each.speaker for each in listing.recordings} == {None}


def test_the_folders_of_parts_may_be_in_the_folder_data(tmp_path: Path) -> None:
    files = {"metadata.csv": "file_name,text\ndata/train/a.wav,uno\n.\\data\\test\\b.wav,dos\n"}
    listing = listing_of(
        DatasetFormat.AUDIO_FOLDER, {**files, **recordings("data/train/a.wav", "data/test/b.wav")}, tmp_path
    )
    assert [each.part for each in listing.recordings] == ["train", "test"]


@pytest.mark.parametrize(
    "rows",
    [
        "1|hola que tal|ana\n2|adiós|bo\n3|hola que tal|bo\n",
        "1|hola|ana\n2|adiós|ana\n3|5|ana\n",
        "1|hola|ana\n2|adiós|bo\n3|sí|ana\n4|no|bo\n5|ya|ana\n",
    ],
)
def test_a_third_cell_of_ljspeech_that_is_the_speaker_is_no_transcript(rows: str, tmp_path: Path) -> None:
    problem = "metadata.csv row 1: the third cell 'ana' should be the text 'hola.*' as it is spoken, and shares no word"
    with pytest.raises(BadData, match=problem):
        listing_of(DatasetFormat.AUDIO_FOLDER, {"metadata.csv": rows, **recordings("wavs/1.wav")}, tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        "1|1|uno\n2|2|dos\n",
        "1|Hola, 5.|hola cinco\n2|etc.|et cetera\n",
        "1|你好|ni3 hao3\n2|再见|zai4 jian4\n",
        "1|橋|はし\n2|箸|はし\n3|山|やま\n",
        "1|山|やま\n2|川|かわ\n3|山|やま\n4|生|なま\n5|川|かわ\n6|生|き\n",
        "1|a|\n",
    ],
)
def test_a_third_cell_of_ljspeech_that_is_spoken_of_the_second_wins(rows: str, tmp_path: Path) -> None:
    files = {"metadata.csv": rows, **recordings(*(f"wavs/{row.split('|')[0]}.wav" for row in rows.splitlines()))}
    spoken = [row.split("|")[2] or row.split("|")[1] for row in rows.splitlines()]
    assert [each.transcript for each in listing_of(DatasetFormat.AUDIO_FOLDER, files, tmp_path).recordings] == spoken


def test_kaldi_joins_its_three_files(tmp_path: Path) -> None:
    files = {
        "wav.scp": f"ana-1 wavs/1.wav\nana-2\t{tmp_path}/wavs/2.wav\nbo-1 wavs/3.wav\n",
        "text": "ana-1 hola  espejo\nana-2 adiós\nbo-1\n",
        "utt2spk": "ana-1 ana\nana-2 ana\nbo-1 bo\n",
        **recordings("wavs/1.wav", "wavs/2.wav", "wavs/3.wav"),
    }
    listing = listing_of(DatasetFormat.KALDI, files, tmp_path)
    assert told(listing) == [
        ("wavs/1.wav", "hola  espejo", "ana", None),
        ("wavs/2.wav", "adiós", "ana", None),
        ("wavs/3.wav", "", "bo", None),
    ]
    assert (listing.recordings[1].id, listing.recordings[1].file, listing.speakers_from) == ("ana-2", "text", "Column")


def test_kaldi_without_speakers_guesses_them_from_the_ids(tmp_path: Path) -> None:
    ids = ("ana-1", "ana-2", "bo-1", "bo-2")
    files = {
        "wav.scp": "".join(f"{id_} {id_}.wav\n" for id_ in ids),
        "text": "".join(f"{id_} hola\n" for id_ in ids),
        **recordings(*(f"{id_}.wav" for id_ in ids)),
    }
    listing = listing_of(DatasetFormat.KALDI, files, tmp_path)
    assert [each.speaker for each in listing.recordings] == ["ana", "ana", "bo", "bo"]
    assert listing.speakers_from == "Guessed"


def test_data_folders_of_kaldi_are_the_parts_and_paths_may_be_those_of_the_recipe(tmp_path: Path) -> None:
    files = {
        **{f"{part}/wav.scp": f"{part}1 wavs/{part}.wav\n" for part in ("train", "dev", "test")},
        **{f"{part}/text": f"{part}1 hola\n" for part in ("train", "dev", "test")},
        **recordings("wavs/train.wav", "wavs/dev.wav", "test/wavs/test.wav"),
    }
    listing = listing_of(DatasetFormat.KALDI, files, tmp_path)
    assert sorted((each.file, each.name, str(each.part)) for each in listing.recordings) == [
        ("dev/text", "wavs/dev.wav", "dev"),
        ("test/text", "test/wavs/test.wav", "test"),
        ("train/text", "wavs/train.wav", "train"),
    ]


def test_kaldi_may_have_its_speakers_the_other_way_round_and_recordings_without_a_text(tmp_path: Path) -> None:
    files = {
        "wav.scp": "u1 a.wav\nu2 b.wav\nu3 c.wav\nu4 gone.wav\n",
        "text": "u1 hola\nu2 adiós\n",
        "spk2utt": "ana u1 u3\nbo u2\n",
        **recordings("a.wav", "b.wav", "c.wav"),
    }
    listing = listing_of(DatasetFormat.KALDI, files, tmp_path)
    assert told(listing) == [("a.wav", "hola", "ana", None), ("b.wav", "adiós", "bo", None)]
    assert (listing.unnamed_files, listing.speakers_from) == (("c.wav",), "Column")


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (("data/train", "data/test"), ("train", "test")),
        (("train_clean", "test_other"), ("train", "test")),
        (("data/train_clean", "data/test"), ("train", "test")),
        (("train_960", "dev", "test"), ("train", "dev", "test")),
        (("train", "dev_clean", "dev_other", "test"), ("train", "dev", "dev", "test")),
    ],
)
def test_data_folders_of_kaldi_may_be_those_of_a_recipe(
    folders: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path
) -> None:
    files = {f"{folder}/{name}": content for folder in folders for name, content in (SCP | TEXT).items()}
    files |= {f"{folder}/a.wav": "" for folder in folders}
    listing = listing_of(DatasetFormat.KALDI, files, tmp_path)
    assert {each.name: each.part for each in listing.recordings} == {
        f"{folder}/a.wav": part for folder, part in zip(folders, parts, strict=True)
    }
    assert listing.ignored_folders == ()


def test_a_data_folder_of_kaldi_with_the_name_of_a_part_wins_and_the_others_are_named(tmp_path: Path) -> None:
    files = {f"data/{part}/{name}": content for part in ("train", "test") for name, content in (SCP | TEXT).items()}
    files |= {"data/train/a.wav": "", "data/test/a.wav": ""}
    files |= {"data/train_sp/wav.scp": "sp1-u1 sox a.wav -t wav - speed 0.9 |\n"}
    listing = listing_of(DatasetFormat.KALDI, files, tmp_path)
    assert sorted((each.name, each.part) for each in listing.recordings) == [
        ("data/test/a.wav", "test"),
        ("data/train/a.wav", "train"),
    ]
    assert listing.ignored_folders == ("data/train_sp",)


SCP, TEXT = {"wav.scp": "u1 a.wav\n"}, {"text": "u1 hola\n"}


@pytest.mark.parametrize(
    ("layout", "files", "problem"),
    [
        ("CommonVoice", {"other.tsv": HEADER}, r"validated.tsv or train.tsv is missing; in .* there is other.tsv"),
        ("CommonVoice", {"validated.tsv": HEADER}, r"the folder clips is missing; in .* there is validated.tsv"),
        (
            "CommonVoice",
            {"validated.tsv": "client_id\tpath\ttext\n", **COMMON_VOICE},
            "validated.tsv has no column sentence; its header has: client_id, path, text",
        ),
        ("CommonVoice", {"train.tsv": "client_id\tsentence\n", **COMMON_VOICE}, "train.tsv has no column path"),
        ("CommonVoice", {"validated.tsv": "", **COMMON_VOICE}, "validated.tsv does not begin with a header line"),
        ("LibriSpeech", {"19/198/a.flac": ""}, r"<speaker>/<chapter>/<speaker>-<chapter>.trans.txt is missing"),
        (
            "LibriSpeech",
            {"1/2/latin.trans.txt": "1-2-0 ñ\n"},
            r"latin.trans.txt is not UTF-8 \(line 1\); save it as UTF-8",
        ),
        (
            "AudioFolder",
            {"a.wav": ""},
            r"metadata.csv or metadata.jsonl, or a file .* with lines such as 'welcome: Good morning', is missing; in .* there is a.wav",
        ),
        (
            "AudioFolder",
            {"metadata.csv": "path,text\n"},
            "metadata.csv has no column file_name; its header has: path, text",
        ),
        (
            "AudioFolder",
            {"metadata.csv": "file_name,words\n"},
            "no column transcription or text or sentence or transcript",
        ),
        (
            "AudioFolder",
            {"metadata.csv": "audio_file|text|speaker_name\nwavs/a.wav|hola|ana\n", "wavs/a.wav": ""},
            "metadata.csv has no column file_name; its header has: audio_file, text, speaker_name; rename the columns, or, "
            r"if this is a table of LJSpeech \(no header, cells separated by \|\), remove the first line",
        ),
        (
            "AudioFolder",
            {"metadata.jsonl": '{"text": "a"}\n'},
            "metadata.jsonl has no column file_name; its header has: text; rename the fields in all lines$",
        ),
        (
            "AudioFolder",
            {"metadata.csv": "file_name,text\n", "metadata.jsonl": ""},
            "metadata.csv and metadata.jsonl describe the same folder; remove one of them",
        ),
        ("Kaldi", TEXT, r"wav.scp is missing; in .* there is text"),
        ("Kaldi", SCP, r"text is missing; in .* there is wav.scp"),
        ("Kaldi", {"wav.scp": "u1 sph2pipe -f wav a.sph |\n", **TEXT}, "wav.scp row 1: the entry of u1 is a command"),
        ("Kaldi", {"wav.scp": "\nu1 a.ark:17\n", **TEXT}, "wav.scp row 2: the entry of u1 is a place in an archive"),
        ("Kaldi", {"wav.scp": "u1 a.wav\nu1 b.wav\n", **TEXT}, "wav.scp row 2: u1 has a row already; remove one"),
    ],
)
def test_a_folder_that_is_no_dataset_is_refused_by_name(
    layout: str, files: Files, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(BadData, match=problem) as raised:
        listing_of(DatasetFormat(layout), files, tmp_path)
    assert raised.value.reason == "InvalidDataset"


@pytest.mark.parametrize(
    ("layout", "files", "row", "reason", "problem"),
    [
        (
            "CommonVoice",
            {"validated.tsv": HEADER + "x\tgone.mp3\tHola\t2\n", **COMMON_VOICE},
            ("validated.tsv", 2),
            "NoRecording",
            "the recording gone.mp3 is missing; paths are relative to clips",
        ),
        (
            "CommonVoice",
            {"validated.tsv": HEADER + "x\ta.mp3\tHola\n", **COMMON_VOICE},
            ("validated.tsv", 2),
            "MalformedRow",
            "has 3 cells, the header has 4: add the missing ones, or correct the delimiter",
        ),
        (
            "CommonVoice",
            {"validated.tsv": HEADER + "x\t\tHola\t2\n", **COMMON_VOICE},
            ("validated.tsv", 2),
            "NoRecording",
            "has no file name; give the path of the recording",
        ),
        (
            "LibriSpeech",
            {"1/2/1-2.trans.txt": "1-2-0 A\n1-2-0 B\n", "1/2/1-2-0.flac": ""},
            ("1/2/1-2.trans.txt", 2),
            "DuplicateRow",
            "1-2-0 is already in 1/2/1-2.trans.txt row 1; give each recording once",
        ),
        (
            "AudioFolder",
            {"metadata.csv": "file_name,text\n../outside.wav,hola\n"},
            ("metadata.csv", 2),
            "NoRecording",
            "the recording ../outside.wav is outside of the folder of the dataset; use a path relative to the folder of the dataset",
        ),
        (
            "AudioFolder",
            {"metadata.csv": "file_name,text,split\na.wav,hola,tets\n", "a.wav": ""},
            ("metadata.csv", 2),
            "MalformedRow",
            "the split 'tets' is unknown; use train, dev or test, or leave the cell empty",
        ),
        (
            "AudioFolder",
            {"metadata.jsonl": '{"file_name": "a.wav", "text": "a"}\n{"file_name": \n', "a.wav": ""},
            ("metadata.jsonl", 2),
            "MalformedRow",
            "is not valid JSON (Expecting value: line 1 column 15 (char 14)); write one object in each line",
        ),
        (
            "AudioFolder",
            {"metadata.jsonl": '{"file_name": "a.wav", "text": "a"}\n["a"]\n', "a.wav": ""},
            ("metadata.jsonl", 2),
            "MalformedRow",
            "is not a JSON object; write one object in each line",
        ),
        (
            "AudioFolder",
            {"metadata.csv": "id|a|b|c\n"},
            ("metadata.csv", 1),
            "MalformedRow",
            "has 4 cells, a row has 2 to 3: correct a transcript with the delimiter in it",
        ),
        (
            "Kaldi",
            {"wav.scp": "u1 /gone/a.wav\n", **TEXT},
            ("text", 1),
            "NoRecording",
            "the recording /gone/a.wav is outside of the folder of the dataset; use a path relative to the folder of the dataset",
        ),
        ("Kaldi", {**SCP, "text": "u2 hola\n"}, ("text", 1), "NoRecording", "wav.scp has no row for u2; add one or remove this row"),
        (
            "Kaldi",
            {**SCP, "text": "u1 hola\nu1 adiós\n", "a.wav": ""},
            ("text", 2),
            "DuplicateRow",
            "u1 is already in row 1; give each utterance once",
        ),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_reported_by_file_and_line(
    layout: str, files: Files, row: tuple[str, int], reason: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "outside.wav").touch()
    listing = listing_of(DatasetFormat(layout), files, tmp_path / "dataset")
    (rejection,) = listing.rejected
    assert (rejection.file, rejection.row, rejection.reason, rejection.message) == (*row, reason, problem)


LOOKS: list[tuple[str, Files]] = [
    ("Commands", {"commands.csv": "id,es\n"}),
    ("DeepSpeechCSV", {"train.csv": "wav_filename,transcript\n"}),
    ("CommonVoice", {"validated.tsv": HEADER}),
    ("LibriSpeech", {"train-clean-100/1/2/1-2.trans.txt": ""}),
    ("AudioFolder", {"train/metadata.jsonl": ""}),
    ("AudioFolder", {"prompts.txt": "a: hola\n", "a.gsm": ""}),
    ("Kaldi", {"wav.scp": ""}),
]


@pytest.mark.parametrize(("layout", "files"), LOOKS)
def test_another_format_than_that_of_the_folder_is_named(layout: str, files: Files, tmp_path: Path) -> None:
    given = DatasetFormat.KALDI if layout != "Kaldi" else DatasetFormat.COMMANDS
    with pytest.raises(BadData, match=f"looks like the format {layout}: set dataset.format: {layout}"):
        listing_of(given, files, tmp_path)


def test_a_link_inside_the_folder_may_lead_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.wav").touch()
    source = folder_of({"metadata.csv": "file_name,text\nlinked/a.wav,hola\n"}, tmp_path / "dataset")
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    listing = list_recordings(source, DatasetFormat.AUDIO_FOLDER, "es")
    assert [each.name for each in listing.recordings] == ["linked/a.wav"]
