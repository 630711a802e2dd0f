"""The id of a recording is decided for the folder as a whole."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_pipeline.prepare.layout import assign, near_misses
from speechmodel_stagekit.errors import BadData

SEVEN = tuple("1234567")


def ids_of(names: list[str], ids: tuple[str, ...], pattern: str = "") -> dict[str, str]:
    return {name: reading.id for name, reading in assign(names, ids, pattern).readings.items()}


class CountedIds(tuple[str, ...]):
    """Ids that count how often all of them are read."""

    reads = 0

    def __iter__(self) -> Iterator[str]:
        self.reads += 1
        return super().__iter__()


def recipe(prefix: str = "shapes_", takes: int = 2) -> dict[str, str]:
    """Return file names as the recipe has them, with their ids."""
    return {
        f"{prefix}{hashlib.md5(id_.encode()).hexdigest()}_2_3_000000_{id_}_{take:03}.wav": id_
        for id_ in SEVEN
        for take in range(1, takes + 1)
    }


@pytest.mark.parametrize(
    ("names", "ids", "pattern"),
    [
        ({"ok.wav": "ok", "ok_2.wav": "ok", "no-anna.flac": "no", "no/3.wav": "no"}, ("ok", "no"), "<id>, <id>_<take>"),
        ({"ok_espejo_2.wav": "ok_espejo", "ok_2.wav": "ok", "espejo.wav": "espejo"}, ("ok", "ok_espejo", "espejo"), "<id>,"),
        (recipe(), SEVEN, "<anything>_<id>_<take>"),
        ({f"2_3_000000_{id_}_001.wav": id_ for id_ in SEVEN}, SEVEN, "<anything>_<id>_<take>"),
        ({f"anna_{id_}_1.wav": id_ for id_ in ("luz", "luz_roja")}, ("luz", "luz_roja", "roja"), "<anything>_<id>"),
        ({f"{digit}_george_{take}.wav": digit for digit in SEVEN for take in range(9)}, SEVEN, "<id>,"),
        ({f"{who}/{id_}.wav": id_ for id_ in SEVEN for who in ("anna", "otto")}, SEVEN, "<speaker>/<id>"),
        ({f"{who}/{id_}/1.wav": id_ for id_ in SEVEN for who in ("anna", "otto")}, SEVEN, "<speaker>/<id>"),
        ({f"{id_}/{take}.wav": id_ for id_ in SEVEN for take in range(1, 10)}, SEVEN, "<id>,"),
        ({f"{id_}_{take}.wav": id_ for id_ in SEVEN for take in range(1, 10)}, SEVEN, "<id>,"),
        ({f"{id_}_{take}.wav": id_ for id_ in SEVEN[:6] for take in range(1, 4)}, SEVEN, "<id>,"),
        ({"luz.wav": "luz", "luz (1).wav": "luz", "luz (2).wav": "luz", "sol (1).wav": "sol"}, ("luz", "sol"), "<id>,"),
        ({"ana/luz.wav": "luz", "bo/luz (1).wav": "luz", "bo/sol.wav": "sol"}, ("luz", "sol"), "<speaker>/<id>"),
        ({f"{who}_{id_}.wav": id_ for id_ in ("luz", "sol") for who in ("anna", "otto")}, ("luz", "sol"), "<anything>_<id>"),
        ({f"{who}-{id_}.wav": id_ for id_ in ("ok", "no-ok") for who in ("anna", "otto")} | {"ok.wav": "ok"},
         ("ok", "no-ok"), "<anything>_<id>"),
    ],
)  # fmt: skip
def test_the_layout_that_explains_the_folder_is_found(
    names: dict[str, str], ids: tuple[str, ...], pattern: str
) -> None:
    assignment = assign(list(names), ids)
    assert {name: reading.id for name, reading in assignment.readings.items()} == names
    assert assignment.layout.pattern.startswith(pattern)


def test_a_folder_of_the_speaker_names_the_speaker() -> None:
    readings = assign(["anna/ok.wav", "otto/ok_2.wav"], ("ok",)).readings
    assert {name: reading.speaker for name, reading in readings.items()} == {
        "anna/ok.wav": "anna",
        "otto/ok_2.wav": "otto",
    }


def test_two_layouts_that_explain_the_files_equally_well_are_shown_with_file_names() -> None:
    names = [f"{first}_x_{second}_1.wav" for first, second in ("12", "21", "33", "44")]
    with pytest.raises(BadData) as refused:
        assign(names, ("1", "2", "3", "4"))
    assert refused.value.reason == "InvalidDataset"
    for part in (
        "<id>, <id>_<take> or <id>/<file> (1_x_2_1.wav: id 1, 2_x_1_1.wav: id 2, 3_x_3_1.wav: id 3)",
        "<anything>_<id>_<take> (1_x_2_1.wav: id 2, 2_x_1_1.wav: id 1, 3_x_3_1.wav: id 3)",
        "dataset.recordings.namePattern",
    ):
        assert part in str(refused.value)


NUMBERED: dict[str, Callable[[int, str], list[str]]] = {
    "speaker_id": lambda number, id_: [f"{number}_{id_}.wav"],
    "take_speaker_id": lambda number, id_: [f"{number}_anna_{id_}.wav", f"{number}_otto_{id_}.wav"],
    "speaker_id_take": lambda number, id_: [f"{number}_{id_}_{take}.wav" for take in (1, 2)],
    "speaker/id": lambda number, id_: [f"{number}/{id_}.wav"],
    "speaker/id_take": lambda number, id_: [f"{number}/{id_}_{take}.wav" for take in (1, 2)],
    "speaker/id/take": lambda number, id_: [f"{number}/{id_}/{take}.wav" for take in (1, 2)],
    "speaker/take_id": lambda number, id_: [f"{number}/{take}_{id_}.wav" for take in (1, 2)],
    "id_take": lambda number, id_: [f"{id_}_{number}.wav"],
    "id/take": lambda number, id_: [f"{id_}/{number}.wav"],
    "id_speaker_take": lambda number, id_: [f"{id_}_{number}_{take}.wav" for take in (1, 2)],
}
"""File names with an id and another number."""


@pytest.mark.parametrize("numbers", [1, 3, 6, 7, 8, 10])
@pytest.mark.parametrize("form", NUMBERED)
def test_a_number_beside_the_id_is_never_taken_for_it(form: str, numbers: int) -> None:
    names = {name: id_ for number in range(1, numbers + 1) for id_ in SEVEN for name in NUMBERED[form](number, id_)}
    try:
        assert ids_of(list(names), SEVEN) == names
    except BadData as refused:
        assert "can be read in two ways" in str(refused)
        takes_of_one_id = numbers == 1 and form in ("speaker_id", "speaker/id")
        assert numbers == len(SEVEN) or takes_of_one_id  # otherwise there is no doubt


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        ([f"{one}_{other}.wav" for one in SEVEN for other in SEVEN], SEVEN),
        ([f"{one}/{other}.wav" for one in SEVEN for other in SEVEN], SEVEN),
        ([f"{one}_{other}.wav" for one in SEVEN for other in SEVEN] + ["3_8.wav"], SEVEN),  # a file without a row
        ([f"{one}_{other}.wav" for one in range(1, 6) for other in range(1, 13)], tuple(map(str, range(1, 21)))),
        (["1_1.wav", "1_2.wav", "1_3.wav"], ("1", "2")),
        ([f"1/{number}.wav" for number in range(9)], SEVEN),
        ([f"2_{take}.wav" for take in range(1, 13)], SEVEN),  # of one id, which is all that is recorded so far
        (["1.wav", *(f"1_{take}.wav" for take in range(1, 8))], SEVEN),
        ([f"1/{take}.wav" for take in range(1, 8)], SEVEN),
        ([f"2_{take}.wav" for take in range(1, 21)], tuple(map(str, range(1, 13)))),
        ([f"3_{take}.wav" for take in range(20)], tuple("0123456789")),
        ([f"{id_}_{take}.wav" for id_ in "34" for take in range(10)], tuple("0123456789")),
        ([f"2_{take}.wav" for take in range(1, 13)] + ["2_noise.wav", "2_far.wav"], SEVEN),
    ],
)
def test_numbers_that_may_be_ids_or_takes_are_refused(names: list[str], ids: tuple[str, ...]) -> None:
    with pytest.raises(BadData) as refused:
        assign(names, ids)
    assert refused.value.reason == "InvalidDataset"
    assert str(refused.value).count(".wav: ") == 6  # three real names, by both candidates
    assert "set dataset.recordings.namePattern to a pattern such as {id}_{take}" in str(refused.value)


@pytest.mark.parametrize("takes", [3, 7, 12])
def test_ids_at_the_end_of_near_misses_are_not_read(takes: int) -> None:
    names = [f"{id_:02}_{take}.wav" for id_ in range(1, 13) for take in range(1, takes + 1)]
    read = ids_of(names, tuple(map(str, range(1, 13))))
    assert read == {name: name[:2] for name in names if name[0] == "1"}


def test_layouts_that_agree_are_no_tie() -> None:
    assert ids_of(["1_1_1.wav", "2_2_1.wav"], ("1", "2")) == {"1_1_1.wav": "1", "2_2_1.wav": "2"}


def test_an_id_that_takes_nearly_every_file_is_doubted() -> None:
    names = [f"2_3_000000_x{id_}_001.wav" for id_ in SEVEN]
    with pytest.raises(BadData) as refused:
        assign(names, SEVEN)
    assert "7 of 7 recordings would belong to the id 2, and 6 of 7 ids would have none" in str(refused.value)
    assert "2_3_000000_x1_001.wav: id 2, 2_3_000000_x2_001.wav: id 2, 2_3_000000_x3_001.wav: id 2" in str(refused.value)


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["1_01.wav", "1_02.wav", "1_03.wav"], ("1", "2")),  # two ids
        (["1_01.wav", "1_02.wav", "2_01.wav"], ("1", "2", "3", "4", "5")),  # two thirds
        ([f"1/{take:02}.wav" for take in range(9)], SEVEN),  # a folder of its own
        (["1.wav"], SEVEN),
        ([f"1_{take}.wav" for take in range(9)] + ["2_1.wav"], ("1", "2", "3")),  # only one id without
    ],
)
def test_ids_without_recordings_alone_are_no_error(names: list[str], ids: tuple[str, ...]) -> None:
    assert len(ids_of(names, ids)) == len(names)


class TestANamePattern:
    def test_settles_the_recipe_by_hand(self) -> None:
        names = recipe("")
        readings = assign(list(names), SEVEN, "{speaker}_{}_{}_{}_{id}_{take}").readings
        assert {name: reading.id for name, reading in readings.items()} == names
        assert {reading.speaker for reading in readings.values()} == {name.partition("_")[0] for name in names}

    def test_takes_a_reading_whose_id_has_a_row(self) -> None:
        assert ids_of(list(recipe()), SEVEN, "{speaker}_{}_{}_{}_{id}_{take}") == recipe()

    def test_settles_a_tie(self) -> None:
        assert ids_of(["1_x_2_1.wav", "2_x_1_1.wav"], ("1", "2"), "{}_{}_{id}_{take}") == {
            "1_x_2_1.wav": "2",
            "2_x_1_1.wav": "1",
        }

    @pytest.mark.parametrize("field", ["{speaker}", "{speaker:d}", "{speaker:w}", "{speaker:.2}"])
    def test_takes_a_speaker_as_it_is_written(self, field: str) -> None:
        readings = assign(["01_ok_1.wav", "12_ok_1.wav"], ("ok",), f"{field}_{{id}}_{{take:d}}").readings
        assert [reading.speaker for reading in readings.values()] == ["01", "12"]

    def test_with_a_slash_reads_the_folders(self) -> None:
        reading = assign(["sala/anna/ok_1.wav"], ("ok",), "{}/{speaker}/{id}_{take}").readings["sala/anna/ok_1.wav"]
        assert (reading.id, reading.speaker) == ("ok", "anna")

    def test_leaves_other_names_without_an_id(self) -> None:
        assert ids_of(["anna_ok.wav", "OK.wav", "anna_OK.wav"], ("ok",), "{speaker}_{id}") == {"anna_ok.wav": "ok"}

    def test_is_compiled_once_however_many_files_there_are(self) -> None:
        ids = CountedIds(SEVEN)
        assert len(assign(list(recipe()), ids, "{speaker}_{}_{}_{}_{id}_{take}").readings) == 14
        assert ids.reads == 1

    @pytest.mark.parametrize(
        ("pattern", "problem"),
        [
            ("{speaker}_{take}", "has no field {id}"),
            ("{id}_{name}", "has the unknown field {name}; use {id}, {speaker} and {take}"),
            ("{id}_{", "has a brace without its partner"),
            ("{id}_{id:d}", "is not a valid pattern"),
            ("{speaker}_{id}.WAV", "ends with .WAV, but names are read without it; remove it"),
            (
                "original/es/{speaker}/{id}",
                "begins with original/, but paths are read below the language's folder in it",
            ),
            ("*_{id}_*", "has a *, which stands for itself; write {} for any other part"),
        ],
    )
    def test_that_cannot_be_used_is_an_error_that_says_why(self, pattern: str, problem: str) -> None:
        with pytest.raises(BadData) as refused:
            assign(["ok.wav"], ("ok",), pattern)
        assert f"dataset.recordings.namePattern {pattern!r} {problem}" in str(refused.value)


@pytest.mark.parametrize(
    ("id_", "name"),
    [
        ("1", "001.wav"),
        ("1", "001_2.wav"),
        ("2.0", "2.wav"),
        ("2,0", "2.wav"),
        ("2\u200b", "2.wav"),
        ("ok-espejo", "OK-Espejo.wav"),
        ("ok", "ok (copia).wav"),
        ("ok", "ok (2).wav"),
        ("ok", "ok - copia.wav"),
        ("ok espejo", "ok_espejo_1.wav"),
        ("ok-espejo", "ok_espejo.wav"),
        ("ok_espejo", "Ok espejo_2.wav"),
        ("canción", "cancion_1.wav"),
        ("manana", "mañana.wav"),
        ("canción", unicodedata.normalize("NFD", "Canción") + ".wav"),
    ],
)
def test_a_file_name_that_is_nearly_an_id_is_suggested(id_: str, name: str) -> None:
    assert near_misses([id_], [name]) == {id_: name}


def test_the_closest_name_is_suggested() -> None:
    assert near_misses(["ok-espejo"], ["Ok_Espejo.wav", "OK-espejo.wav"]) == {"ok-espejo": "OK-espejo.wav"}


def test_other_names_are_not_suggested() -> None:
    assert near_misses(["1", "ok"], ["10.wav", "okay.wav", "100_1.wav"]) == {}


@given(st.dictionaries(st.text("ab_-/1", min_size=1, max_size=6), st.none(), min_size=1, max_size=5), st.data())
def test_every_reading_has_a_known_id_that_is_in_the_name(ids: dict[str, None], data: st.DataObject) -> None:
    names = data.draw(
        st.lists(st.from_regex(r"[ab_1-]{1,6}(/[ab_1-]{1,6})?\.wav", fullmatch=True), max_size=8, unique=True)
    )
    try:
        readings = assign(names, list(ids)).readings
    except BadData:
        return
    for name, reading in readings.items():
        assert reading.id in ids
        assert reading.id in name
