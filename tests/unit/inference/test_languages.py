import langcodes
import pytest
from speechmodel_inference.languages import is_language


@pytest.mark.parametrize(
    "given",
    [
        "es",
        "ES",
        "es-CL",
        "es_ES",
        "es-419",
        "es-Latn-CL",
        "spa",
        "Spanish",
        "español",
        "auto",
        " es ",
        "es_ES.UTF-8",
        "es_ES.ISO-8859-1@euro",
        "Castilian",
        "Spanish (Spain)",
        "español (España)",
    ],
)
def test_every_usual_spelling_of_the_language_is_accepted(given: str) -> None:
    assert is_language(given, "es-CL")


@pytest.mark.parametrize(
    "given",
    [
        "en",
        "eng",
        "e",
        "espanol",
        "es-",
        "es--CL",
        "es-x-123456789",
        "english",
        "🙂",
        "en_US.UTF-8",
        "Valencian",
        "English (Spain)",
        "(es)",
        ".UTF-8",
    ],
)
def test_everything_else_is_another_language(given: str) -> None:
    assert not is_language(given, "es-CL")


def test_tags_of_requests_are_not_kept() -> None:
    assert is_language("es", "es")
    before = len(langcodes.Language._PARSE_CACHE)
    assert all(is_language(f"es-x-{number}", "es") for number in range(100))
    assert len(langcodes.Language._PARSE_CACHE) == before


def test_a_tag_of_no_language_is_known_by_itself() -> None:
    assert is_language("Espejo-QQ", "espejo-qq")
    assert not is_language("es", "espejo-qq")
