"""From a transcript as given to one that is trained."""

import unicodedata

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st
from num2words import CONVERTER_CLASSES
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_decoding.text.normalise import TranscriptUnusable, normalise
from speechmodel_decoding.text.numbers import spelled
from speechmodel_decoding.text.rejections import RejectionReason

WORDS = [
    ("Ok Espejo", "ok espejo"),
    ("¿Qué hora es?", "qué hora es"),
    ("¡Llama a mi hija!", "llama a mi hija"),
    ("«Hola», dijo… y se fue.", "hola dijo y se fue"),
    ("buenos-días", "buenos días"),
    ("sube — baja – para", "sube baja para"),
    ("uno,dos", "uno dos"),
    ("uno,«dos»", "uno dos"),
    ("hola :)", "hola"),
    ("a) hola", "a hola"),
    ("hola (...)", "hola"),
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


@pytest.mark.parametrize("language", ["tr-TR", "tur", "aze", "az-Latn-AZ", "crh"])
def test_turkish_capitals_are_turkish(language: str) -> None:
    assert normalise("ISPARTA İzmir", language=language).text == "ısparta izmir"


def test_a_capital_with_a_dot_leaves_no_dot_behind() -> None:
    assert normalise("İstanbul", language="de").text == "istanbul"


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


SCRIPTS = [
    ("fa", "می‌روم خانه.", "می‌روم خانه"),
    ("fa", "‌سلام‌ دنیا‍", "سلام دنیا"),
    ("ar", "ﻣﺮﺣﺒﺎ", "مرحبا"),
    ("hi", "नमस्ते, क्‍षमा कीजिए।", "नमस्ते क्‍षमा कीजिए"),
    ("hi", "hello‍world", "helloworld"),
    ("th", "สวัสดีครับ น้ำ ๆ", "สวัสดีครับ น้ำ ๆ"),
    ("ko", "안녕하세요, 거울!", "안녕하세요 거울"),
    ("ko", unicodedata.normalize("NFD", "거울"), "거울"),
    ("ko", "ㅋㅋ", "ㅋㅋ"),
    ("ja", "ﾃﾚﾋﾞ Tシャツ", "テレビ tシャツ"),
    ("ja", "カ\u309bス ハ\u309cン は\u309bら", "ガス パン ばら"),
    ("ja", "\u309bあ\u309b。", "あ\u3099"),
    ("he", "צה\"ל ג'ירפה", "צה״ל ג׳ירפה"),
    ("he", "צה״ל ר׳ ג׳ירפה", "צה״ל ר׳ ג׳ירפה"),
    ("he", '"שלום" אמר', "שלום אמר"),
    ("haw", "ʻĀina, Hawaiʻi.", "ʻāina hawaiʻi"),
    ("haw", "Hawai‘i Hawai'i ‘ohana’", "hawaiʻi hawaiʻi ohana"),
    ("es", "ʻholaʻ", "hola"),
    ("el", "ΚΑΛΗΜΈΡΑ ΚΌΣΜΟΣ.", "καλημέρα κόσμος"),
    ("hy", "Եւ և", "եւ և"),
    ("es", "ﬁn Ａｄｉóｓ！ 𝐇ola", "fin adiós hola"),
    ("ca", "coŀlecció", "col·lecció"),
    ("hr", "ǅep", "džep"),
    ("af", "ŉ man", "n man"),
    ("es", "Hola﹗ sí", "hola sí"),
    ("ka", "ᲒᲐᲛᲐᲠᲯᲝᲑᲐ", "გამარჯობა"),
    ("am", "ሰላም፡ልጆች።", "ሰላም ልጆች"),
    ("ar", "مرحـــبا", "مرحبا"),
    ("ja", "葛\U000e0100城", "葛城"),
    ("ko", "가\u3164나", "가나"),
    ("es", "hola\u203c\ufe0f", "hola"),
    ("es", "a\u034fb", "ab"),
]


@pytest.mark.parametrize(("language", "written", "trained"), SCRIPTS)
def test_every_script_keeps_its_letters_and_joiners(language: str, written: str, trained: str) -> None:
    assert normalise(written, language=language).text == trained


def test_a_final_sigma_is_final_with_an_alphabet_that_has_capitals_too() -> None:
    assert normalise("ΟΔΟΣ A", language="el", alphabet=set("οδσςA ")).text == "οδος A"


VARIANTS = [
    ("ro", "Şi ţara, și țara", "și țara și țara"),
    ("ron", "ŞI", "și"),
    ("mo", "ţara", "țara"),
    ("tr", "şarkı", "şarkı"),
    ("el", "µε", "με"),
    ("fa", "كتاب علي", "کتاب علی"),
    ("pes", "كتاب", "کتاب"),
    ("ar", "كتاب علي", "كتاب علي"),
    ("ur", "كيا هے", "کیا ہے"),
    ("ca", "Col.lecció COL•LECCIÓ col∙lecció col‧lecció", "col·lecció col·lecció col·lecció col·lecció"),
    ("es", "del.lugar", "del lugar"),
    ("oc", "in·hèrn", "in·hèrn"),
    ("th", "เ\u200bเละ น\u0e4d\u0e49\u0e32", "และ น้ำ"),
    ("ml", "അവന്\u200d പോയി", "അവൻ പോയി"),
    ("uz", "Tog‘ o'zim bog` oʻn", "togʻ oʻzim bogʻ oʻn"),
    ("uz", "‘tog’", "tog"),
    ("sm", "'Ava mo'o", "ʻava moʻo"),
    ("to", "‘Ofa atu", "ʻofa atu"),
    ("haw", "'aloha' ‘āina", "aloha āina"),
    ("es", "‘ola", "ola"),
    ("vi", "Ðèn ðỏ, Đèn", "đèn đỏ đèn"),
    ("is", "Ðað", "ðað"),
]


@pytest.mark.parametrize(("language", "written", "trained"), VARIANTS)
def test_a_letter_that_is_written_in_several_ways_is_one_letter(language: str, written: str, trained: str) -> None:
    assert normalise(written, language=language).text == trained


def test_a_given_alphabet_keeps_the_letters_that_others_write_otherwise() -> None:
    assert normalise("şi", language="ro", alphabet=set("şi")).text == "şi"
    assert normalise("مـا", language="ar", alphabet=set("مـا")).text == "مـا"
    assert normalise("nº", language="es", alphabet=set("nº")).text == "nº"


MIXED = [
    ("ru", "привeт мир", "привет мир"),
    ("ru", "Hет", "нет"),
    ("ru", "ok это a не то", "ok это а не то"),
    ("ru", "cop", "cop"),
    ("ru", "это hip hop и HIP HOP", "это hip hop и hip hop"),
    ("ru", "a песня pop o нём", "а песня pop о нём"),
    ("el", "το POP και o NATO", "το pop και ο nato"),
    ("fi", "se on һӓ", "se on һӓ"),
    ("es", "саsa", "casa"),
    ("es", "la cаsа а сор", "la casa a cop"),
    ("el", "καλoς", "καλος"),
    ("", "зеркалo", "зеркало"),
    ("sr", "zdрavo здрaво", "zdpavo здраво"),
    ("az", "mәktәb", "məktəb"),
    ("os", "æз", "ӕз"),
    ("kk", "қаhарман", "қаһарман"),
]


@pytest.mark.parametrize(("language", "written", "trained"), MIXED)
def test_a_letter_of_another_script_becomes_the_one_that_it_looks_like(
    language: str, written: str, trained: str
) -> None:
    normalised = normalise(written, language=language)
    assert normalised.text == trained
    assert ("Script" in normalised.rules) == (written.lower() != trained)


@pytest.mark.parametrize(("language", "word"), [("ru", "iPhoneом"), ("", "сa"), ("ru", "ΩкΩ")])
def test_a_word_of_scripts_that_do_not_look_alike_is_refused(language: str, word: str) -> None:
    with pytest.raises(TranscriptUnusable, match="has letters of several scripts; write it in one") as refused:
        normalise(f"это {word}", language=language)
    assert refused.value.reason is RejectionReason.MIXED_SCRIPTS
    assert normalise(word, language=language, alphabet=set(word)).text == word


ANNOTATED = [
    ("[risas] hola", "hola"),
    ("hola (inaudible) espejo", "hola espejo"),
    ("hola <noise> {cough} *ríe* espejo", "hola espejo"),
    ("uno ([dos] tres) cuatro", "uno cuatro"),
    ("hola（笑）", "hola"),
    ("hola〔cough〕", "hola"),
    ("你好【音乐】", "你好"),
    ("at [@]", "at"),
    ("plus (+) uno", "plus uno"),
]


@pytest.mark.parametrize(("written", "stripped"), ANNOTATED)
def test_an_annotation_is_refused_or_stripped(written: str, stripped: str) -> None:
    with pytest.raises(TranscriptUnusable, match=r"may not be spoken; .* dataset\.annotations to Strip") as refused:
        normalise(written)
    assert refused.value.reason is RejectionReason.ANNOTATION
    normalised = normalise(written, annotations=Annotations.STRIP)
    assert normalised.text == stripped
    assert "Annotation" in normalised.rules


@pytest.mark.parametrize("annotations", Annotations)
@pytest.mark.parametrize(
    "written",
    ["hola [risas", "hola (risas", "(risas", "hola(risas", "hola - (risas", "hola 〔笑", "笑〕 hola", "【笑"],
)
def test_a_bracket_that_is_not_closed_is_refused(written: str, annotations: Annotations) -> None:
    with pytest.raises(TranscriptUnusable, match="unpaired") as refused:
        normalise(written, annotations=annotations)
    assert refused.value.reason is RejectionReason.ANNOTATION


@pytest.mark.parametrize(
    "written",
    [
        "hola :( adiós",
        "hola ;-( adiós",
        "hola(( adiós",
        "hola( adiós",
        "hola ( adiós",
        "hola :(adiós",
        "hola :((adiós",
        "hola :'(adiós",
        "hola (",
        "hola* adiós",
        "* hola adiós",
        "hola. *adiós",
        "hola (^_^)",
        "hola (`)",
        "hola ( ^ )",
    ],
)
def test_a_smiley_or_a_footnote_is_dropped(written: str) -> None:
    assert normalise(written).text in ("hola adiós", "hola")


def test_nothing_is_left_of_a_transcript_that_is_an_annotation() -> None:
    with pytest.raises(TranscriptUnusable) as refused:
        normalise("[silencio]", annotations=Annotations.STRIP)
    assert refused.value.reason is RejectionReason.EMPTY_TRANSCRIPT


SPELLED = [
    ("es", "llama al 112", "llama al ciento doce"),
    ("es-CL", "pon 3 minutos.", "pon tres minutos"),
    ("en", "Twenty-one is 21!", "twenty one is twenty one"),
    ("ru", "5 минут", "пять минут"),
    ("deu", "5 Minuten", "fünf minuten"),
    ("fa", "۵ دقیقه", "پنج دقیقه"),
    ("kk", "қос 5", "қос бес"),
    ("kk-Cyrl-KZ", "21 шам", "жиырма бір шам"),
    ("kaz", "қос 5", "қос бес"),
    ("nb", "skru på 7 lys", "skru på syv lys"),
    ("nb-NO", "lys 21", "lys tjueen"),
    ("no", "22 lys", "tjueto lys"),
    ("iw", "ערוץ 21", "ערוץ עשרים ואחת"),
    ("in", "nyalakan 21", "nyalakan dua puluh satu"),
    ("lvs", "21", "divdesmit viens"),
    ("sr-Latn", "upali 21", "upali dvadeset jedan"),
]


@pytest.mark.parametrize(("language", "written", "trained"), SPELLED)
def test_whole_numbers_are_spelled_if_that_is_asked_for(language: str, written: str, trained: str) -> None:
    normalised = normalise(written, language=language, numbers=Numbers.SPELL)
    assert normalised.text == trained
    assert "Numbers" in normalised.rules
    with pytest.raises(TranscriptUnusable):
        normalise(written, language=language)


@pytest.mark.parametrize(
    "written",
    [
        *("3,5", "1.000", "10:30", "007", "600 12 34", "5 %", "20€", "$20", "2º", "B2B", "-5", "1/2", "1234567890123", "½"),
        *("10–15", "10 – 15", "10 - 15", "–5", "−5", "5 / 3", "5 * 3", "5 x 3", "2^3", "7 : 2", "5...6", "1_000", "3·5"),
        *("12\u2009345", "12\u202f345", "٣٫٥", "١٬٠٠٠", "٠٥", "5 ٪", "5٪", "5 º", "5's", "5’te", "5:e", "5-й", "90-ые"),
    ],
)  # fmt: skip
def test_numbers_that_are_read_in_several_ways_are_not_spelled(written: str) -> None:
    for language in ("es", "ar", "ru"):
        with pytest.raises(TranscriptUnusable) as refused:
            normalise(f"pon {written} ya", language=language, numbers=Numbers.SPELL)
        assert refused.value.reason is RejectionReason.NOT_SPELLED_OUT


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("de", "am 5. Mai"),
        ("fi", "5. päivä"),
        ("cs", "5.května"),
        ("en", "in 1998"),
        ("en", "2024"),
        ("de", "seit 1998"),
        ("es", "el 1.er piso"),
        ("es", "la 5.a planta"),
        ("sv", "år 2015"),
        ("nb", "i 2015"),
        ("da", "i 2020"),
        ("en", "in 1066"),
        ("fr", "en 1998"),
        ("fr-BE", "en 1998"),
    ],
)
def test_ordinals_and_years_are_not_spelled_in_languages_that_read_them_otherwise(language: str, written: str) -> None:
    with pytest.raises(TranscriptUnusable, match="not spelled out"):
        normalise(written, language=language, numbers=Numbers.SPELL)


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("es", "enciende 1 luz"),
        ("es", "21 años"),
        ("es", "200 pesetas"),
        ("es", "canal 1 por favor"),
        ("es", "enciende 1 y 2"),
        ("es", "1 o 2 luces"),
        ("es", "1 parada"),
        ("fr", "chaîne 1 s'il te plaît"),
        ("ja", "チャンネル 5 に"),
        ("de", "1 Minute"),
        ("it", "1 minuto"),
        ("fr", "1 lampe"),
        ("fr", "21 lampes"),
        ("pt", "2 luzes"),
        ("ca", "2 llums"),
        ("ru", "1 минута"),
        ("ru", "22 минуты"),
        ("uk", "2 години"),
        ("pl", "2 minuty"),
        ("sr-Latn", "upali 21 svetlo"),
        ("sv", "1 ljus"),
        ("nb", "21 lys"),
        ("lt", "5 minutės"),
        ("sl", "3 luči"),
        ("hu", "2 perc"),
        ("ko", "3 시간"),
        ("iw", "21 אורות"),
    ],
)
def test_a_number_whose_word_may_depend_on_the_word_behind_it_is_not_spelled(language: str, written: str) -> None:
    with pytest.raises(TranscriptUnusable, match="not spelled out"):
        normalise(written, language=language, numbers=Numbers.SPELL)


NUMBERS_IN_SENTENCES = [
    ("es", "canal 1", "canal uno"),
    ("es", "Marque 1 para salir", "marque uno para salir"),
    ("it", "premere 1 per uscire", "premere uno per uscire"),
    ("fr", "appuyez sur 1 pour sortir", "appuyez sur un pour sortir"),
    ("ru", "Нажмите 2 для ввода, 1 чтобы выйти", "нажмите два для ввода один чтобы выйти"),
    ("es", "son 1, luego 21.", "son uno luego veintiuno"),
    ("es", "2 luces y 112 velas", "dos luces y ciento doce velas"),
    ("en", "1 light", "one light"),
    ("de", "21 Minuten", "einundzwanzig minuten"),
    ("fr", "11 lampes", "onze lampes"),
    ("ru", "11 минут", "одиннадцать минут"),
    ("hu", "3 perc", "három perc"),
    ("de", "Es sind 5.", "es sind fünf"),
    ("en", "a 5-minute timer", "a five minute timer"),
    ("en", "the year 2000", "the year two thousand"),
    ("en", "the year 1005", "the year one thousand and five"),
    ("fr", "en 2015", "en deux mille quinze"),
    ("sv", "år 2005", "år tvåtusenfem"),
    ("es", "en 1998", "en mil novecientos noventa y ocho"),
    ("es", "el 5. Luego 5, 7; y 9", "el cinco luego cinco siete y nueve"),
    ("es", "—Sí, 5— dijo", "sí cinco dijo"),
]


@pytest.mark.parametrize(("language", "written", "trained"), NUMBERS_IN_SENTENCES)
def test_a_number_by_itself_is_spelled_in_a_sentence(language: str, written: str, trained: str) -> None:
    assert normalise(written, language=language, numbers=Numbers.SPELL).text == trained


@pytest.mark.parametrize("language", ["haw", "fil", "tl", "arn", "nn", "zh", "zh-Hant", "espejo-qq"])
def test_numbers_of_a_language_that_is_not_known_are_refused(language: str) -> None:
    with pytest.raises(TranscriptUnusable, match="'5' is not spelled out"):
        normalise("5 hola", language=language, numbers=Numbers.SPELL)


@pytest.mark.parametrize("language", sorted(CONVERTER_CLASSES))
def test_a_number_that_a_language_cannot_spell_is_left(language: str) -> None:
    for number in ("0", "7", "21", "999999", "1234567", "123456789012"):
        assert spelled(number, language)


@pytest.mark.parametrize(
    ("language", "written"), [("sr", "упали 5"), ("sr", "5"), ("sr-Cyrl-RS", "5 минута"), ("az-Cyrl", "5 дәгигә")]
)
def test_numbers_are_not_spelled_in_the_letters_of_another_script(language: str, written: str) -> None:
    with pytest.raises(TranscriptUnusable, match="'5' is not spelled out"):
        normalise(written, language=language, numbers=Numbers.SPELL)


@pytest.mark.parametrize(
    ("language", "written", "suggested"),
    [("es", "llama al 112", True), ("es", "sube un 5 %", False), ("es", "1 luz", False), ("haw", "5", False)],
)
def test_numbers_that_can_be_spelled_are_refused_with_the_setting_that_spells_them(
    language: str, written: str, suggested: bool
) -> None:
    with pytest.raises(TranscriptUnusable, match="not spelled out") as refused:
        normalise(written, language=language)
    assert str(refused.value).endswith(", or set dataset.numbers to Spell") is suggested


@pytest.mark.parametrize(
    ("language", "written", "found", "why"),
    [
        ("en", "in 2026", "2026", "it may be a year"),
        ("es", "2 luces o 21 casas", "21", "its word may depend on the next one"),
        ("hi", "चैनल 5", "5", "num2words does not know the language 'hi'"),
        ("de", "am 5. Mai", "5", "it may be an ordinal"),
        ("ru", "5-й канал", "5", "it may have an ending"),
        ("en", "at 12:30", "12:30", "it may be part of a time, a date, a code or a word"),
        ("en", "agent 007", "007", "it begins with 0"),
        ("en", "1234567890123", "1234567890123", "it has more than 12 digits"),
        ("sr", "упали 5", "5", "num2words writes this language in Latin letters"),
        ("am", "1234", "1234", "num2words cannot spell it"),
    ],
)
def test_the_reason_why_a_number_is_not_spelled_is_given(language: str, written: str, found: str, why: str) -> None:
    with pytest.raises(TranscriptUnusable) as refused:
        normalise(written, language=language, numbers=Numbers.SPELL)
    assert str(refused.value) == (
        f"'{found}' is not spelled out in '{written}': {why}; write numbers and signs as spoken words"
    )


def test_digits_of_a_given_alphabet_are_kept() -> None:
    assert normalise("pon 5", language="es", alphabet=set("pon 0123456789"), numbers=Numbers.SPELL).text == "pon 5"


@pytest.mark.parametrize(
    ("written", "reason", "named"),
    [
        ("llama al 112", RejectionReason.NOT_SPELLED_OUT, "'112' is not spelled out in 'llama al 112'; write numbers"),
        ("a las 12:30, 12:30 o 9.", RejectionReason.NOT_SPELLED_OUT, "'12:30', '9' are not spelled out"),
        (
            "sube un 5 %",
            RejectionReason.NOT_SPELLED_OUT,
            "'5', '%' are not spelled out in 'sube un 5 %'; write numbers",
        ),
        ("una ½ hora", RejectionReason.NOT_SPELLED_OUT, "'½'"),
        ("20 €", RejectionReason.NOT_SPELLED_OUT, "'€'"),
        ("خمسة٪", RejectionReason.NOT_SPELLED_OUT, "'٪'"),
        ("cien ﹪", RejectionReason.NOT_SPELLED_OUT, "'%'"),
        ("Mª Nº", RejectionReason.NOT_SPELLED_OUT, "'ª', 'º'"),
        ("ni\ufffda", RejectionReason.WRONG_ENCODING, "lost letters in another encoding"),
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


ACCENTED = st.text(st.sampled_from("аеиёйгсАЕИ\u0300\u0301\u0306\u0308\u0316.'e "), max_size=12) | st.text(
    st.sampled_from("אבצ׳״'\"می\u200c\u200dक्षʻ‘hoＡﬁΣς[]() *αoоοşÞİʼl.·nـٍكเแന്µگ\ufe0f"), max_size=12
)
LANGUAGES = st.sampled_from(["", "ru", "bg", "mk", "sr", "haw", "he", "fa", "el", "uz", "ca", "ml", "th", "ur", "tr"])


@example("AЕ:Е", "haw")
@example("A:Ѐ", "haw")
@example('İ"Ѐ', "ru")
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
    assert regex.fullmatch(r"[\p{L}\p{M} '·׳״\u200c\u200d]*", text)


@given(st.text(max_size=40), st.sets(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_nothing_outside_of_a_given_alphabet_comes_out(written: str, alphabet: set[str]) -> None:
    try:
        text = normalise(written, alphabet=alphabet).text
    except TranscriptUnusable:
        return
    assert set(text) <= alphabet
