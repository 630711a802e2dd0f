"""The page's texts: every language has every text, with the same values in it."""

import re
from pathlib import Path

import speechmodel_inference

PAGE = Path(speechmodel_inference.__file__).parent / "page"


def texts() -> dict[str, dict[str, str]]:
    source = (PAGE / "texts.js").read_text(encoding="utf-8")
    blocks = re.findall(r"^  (\w\w): \{\n(.*?)^  \},", source, re.DOTALL | re.MULTILINE)
    return {language: dict(re.findall(r'^    (\w+): "(.*)",$', block, re.MULTILINE)) for language, block in blocks}


def values(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)\}", text))


def test_every_language_has_every_text_with_the_same_values() -> None:
    english = texts()["en"]
    for language, translated in texts().items():
        assert list(translated) == list(english), language
        for key, text in translated.items():
            assert values(text) == values(english[key]), (language, key)


def test_every_text_that_the_page_shows_exists() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'data-(?:text|placeholder)="(\w+)"', html))
    for script in PAGE.glob("*.js"):
        shown |= set(re.findall(r'\b(?:text|fact|complain)\("(\w+)"', script.read_text(encoding="utf-8")))
    assert len(shown) > 50
    assert shown - set(texts()["en"]) == set()
