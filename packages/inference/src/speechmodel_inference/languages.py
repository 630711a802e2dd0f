"""The spellings of a language that clients send."""

import langcodes
from langcodes.tag_parser import LanguageTagError

ANY = "auto"
"""The word with which clients leave the language to the server."""


def is_language(given: str, served: str) -> bool:
    """Return True when `given` names the language of the tag `served`, whatever its region.

    It may be a tag with a hyphen or an underscore, a code of three letters, or the language's name in English or
    in itself.
    """
    language = langcodes.Language.get(langcodes.Language.get(served).language or served)
    name = given.strip().casefold()
    if name in (ANY, language.language_name().casefold(), language.autonym().casefold()):
        return True
    try:
        return bool(langcodes.Language.get(name).language == language.language)
    except LanguageTagError:
        return False
