"""From a transcript as given to one that is trained."""

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_pipeline.prepare.report import RejectionReason
from speechmodel_pipeline.prepare.transcripts import TranscriptUnusable, normalise

WORDS = [
    ("Ok Espejo", "ok espejo"),
    ("¿Qué hora es?", "qué hora es"),
    ("¡Llama a mi hija!", "llama a mi hija"),
    ("«Hola», dijo… y se fue.", "hola dijo y se fue"),
    ("buenos-días", "buenos días"),
    ("sube — baja – para", "sube baja para"),
    ("uno,dos", "uno dos"),
    ("uno,(dos)", "uno dos"),
    ("hola...adios", "hola adios"),
    ("¿Qué?¡Sí!", "qué sí"),
    ("Hola!¿Cómo estás?", "hola cómo estás"),
    ('dijo:"hola"', "dijo hola"),
    ("да!..нет", "да нет"),
    ("uno''dos", "uno dos"),
    ("col··lecció", "col lecció"),
    ("y/o", "y o"),
    ("  dos\t espacios\u00a0duros \n", "dos espacios duros"),
    ("pengu\u0308ino", "pengüino"),
    ("L'Hospitalet", "l'hospitalet"),
    ("l’hospitalet", "l'hospitalet"),
    ("'hola'", "hola"),
    ("‘hola’", "hola"),
    ("rock 'n' roll", "rock n roll"),
    ("col·lecció", "col·lecció"),
    ("Привет, Зеркало!", "привет зеркало"),
    ("Ёлка — это ёлка", "ёлка это ёлка"),
    ("П’ять", "п'ять"),
    ("Straße", "straße"),
    ("ΟΔΟΣ", "οδος"),
    ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
    ("\ufeffhola", "hola"),
]


@pytest.mark.parametrize(("written", "trained"), WORDS)
def test_transcripts_are_normalised_by_rule(written: str, trained: str) -> None:
    assert normalise(written).text == trained


def test_the_rules_that_changed_a_transcript_are_named_in_their_order() -> None:
    assert normalise("¿Que\u0301  L’Hora?").rules == ("Unicode", "LowerCase", "Apostrophe", "Punctuation", "WhiteSpace")
    assert normalise("hola espejo").rules == ()


def test_turkish_capitals_are_turkish() -> None:
    assert normalise("ISPARTA İzmir", language="tr-TR").text == "ısparta izmir"


STRESSED = [
    ("ru", "за\u0301мок", "замок"),
    ("ru", "ЗАМО\u0301К", "замок"),
    ("ru", "де\u0300ла", "дела"),
    ("ru", "све\u0300жемороженый", "свежемороженый"),
    ("ru", "чё\u0301рный йод", "чёрный йод"),
    ("uk", "украї\u0301нська", "українська"),
    ("uk", "твоє\u0301 и\u0300", "твоє и"),
    ("bg", "па\u0300ра и ѝ", "пара и ѝ"),
    ("bg-BG", "е\u0300то Ѝ", "ето ѝ"),
    ("mk", "сѐ ѝ не\u0300 ѓон ќе", "сѐ ѝ нѐ ѓон ќе"),
    ("sr-ME", "с\u0301утра из\u0301ести ра\u0301нац", "с\u0301утра из\u0301ести ранац"),
    ("yo", "ọ\u0301jọ\u0301", "ọ\u0301jọ\u0301"),
]


@pytest.mark.parametrize(("language", "written", "trained"), STRESSED)
def test_stress_is_not_a_letter_and_letters_with_an_accent_of_their_own_stay(
    language: str, written: str, trained: str
) -> None:
    normalised = normalise(written, language=language)
    assert normalised.text == trained
    assert ("Stress" in normalised.rules) == (unicodedata.normalize("NFC", written.lower()) != trained)


@pytest.mark.parametrize(
    ("written", "reason", "named"),
    [
        ("llama al 112", RejectionReason.NOT_SPELLED_OUT, "'1', '2'"),
        ("sube un 5 %", RejectionReason.NOT_SPELLED_OUT, "'%', '5'"),
        ("una ½ hora", RejectionReason.NOT_SPELLED_OUT, "'½'"),
        ("20 €", RejectionReason.NOT_SPELLED_OUT, "'€'"),
        ("", RejectionReason.EMPTY_TRANSCRIPT, "is empty"),
        (" \t", RejectionReason.EMPTY_TRANSCRIPT, "is empty"),
        ("…?!", RejectionReason.EMPTY_TRANSCRIPT, "only punctuation"),
    ],
)
def test_what_only_a_person_can_spell_out_is_refused_with_a_reason(
    written: str, reason: RejectionReason, named: str
) -> None:
    with pytest.raises(TranscriptUnusable, match=named) as refused:
        normalise(written)
    assert refused.value.reason is reason


class TestAGivenAlphabet:
    def test_keeps_its_capitals_marks_and_digits(self) -> None:
        alphabet = set(" Eabcdehjlops'-?7")
        assert normalise("'Espejo'-d? 7", alphabet=alphabet).text == "'Espejo'-d? 7"

    def test_keeps_a_typographic_apostrophe_that_it_has(self) -> None:
        assert normalise("l’oca", alphabet=set("loca’")).text == "l’oca"

    def test_decides_what_is_refused(self) -> None:
        with pytest.raises(TranscriptUnusable, match=r"'é', 'ñ' are not in dataset.alphabet") as refused:
            normalise("Qué niña", alphabet=set("abcdefghijklmnopqrstuvwxyz "))
        assert refused.value.reason is RejectionReason.OUTSIDE_ALPHABET

    def test_without_the_space_refuses_two_words(self) -> None:
        with pytest.raises(TranscriptUnusable, match=r"the space is not in dataset.alphabet"):
            normalise("a b", alphabet=set("ab"))

    def test_that_has_accents_as_characters_of_their_own_gets_them_so(self) -> None:
        assert normalise("мой", alphabet=set("мои\u0306")).text == "мои\u0306"

    def test_that_has_the_stress_keeps_it(self) -> None:
        assert normalise("за\u0301мок", language="ru", alphabet=set("замок\u0301")).text == "за\u0301мок"
        assert normalise("дѐла", language="ru", alphabet=set("делаѐ")).text == "дѐла"

    def test_that_lacks_the_stress_is_no_reason_to_refuse_it(self) -> None:
        assert normalise("за\u0301мок", language="ru", alphabet=set("замок")).text == "замок"


ACCENTED = st.text(st.sampled_from("аеиёйгсАЕИ\u0300\u0301\u0306\u0308\u0316.'e "), max_size=12)
LANGUAGES = st.sampled_from(["", "ru", "bg", "mk", "sr"])


@given(st.text(max_size=60) | ACCENTED, LANGUAGES)
def test_normalising_twice_changes_nothing_more(written: str, language: str) -> None:
    try:
        once = normalise(written, language=language)
    except TranscriptUnusable:
        return
    again = normalise(once.text, language=language)
    assert again.text == once.text
    assert again.rules == ()


@given(st.text(max_size=60) | ACCENTED)
def test_what_comes_out_is_lower_case_nfc_and_single_spaced(written: str) -> None:
    try:
        text = normalise(written).text
    except TranscriptUnusable:
        return
    assert text == " ".join(text.split())
    assert text == unicodedata.normalize("NFC", text)
    assert regex.fullmatch(r"[\p{L}\p{M} '·]*", text)


@given(st.text(max_size=40), st.sets(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_nothing_outside_of_a_given_alphabet_comes_out(written: str, alphabet: set[str]) -> None:
    try:
        text = normalise(written, alphabet=alphabet).text
    except TranscriptUnusable:
        return
    assert set(text) <= alphabet
