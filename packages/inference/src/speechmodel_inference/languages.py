"""The spellings of a language that clients send."""

import re

from speechmodel_inference.errors import BadRequest

ANY = "auto"
"""The word with which clients leave the language to the server."""
_TAG = re.compile(r"([a-z]{2,3})([-_][a-z0-9]{1,8})*(\.[a-z0-9-]{1,16})?(@[a-z0-9]{1,16})?")
"""A tag, or a locale such as es_ES.UTF-8 and es_ES@euro."""
_OTHER_NAMES = {
    "castilian": "es",
    "flemish": "nl",
    "mandarin": "zh",
    "moldavian": "ro",
    "moldovan": "ro",
    "valencian": "ca",
}
"""Names that clients of Whisper send, which CLDR has under another name."""


def require_language(given: str, served: str) -> None:
    """Raise BadRequest unless `given` names the language of the tag `served`."""
    if not is_language(given, served):
        message = f"language: this model recognises {served}, not {given!r}."
        raise BadRequest(message, code="unsupported_language", param="language")


def is_language(given: str, served: str) -> bool:
    """Return True when `given` names the language of the tag `served`, whatever its region.

    It may be a tag with a hyphen or an underscore, a locale, a code of three letters, or the language's name in English or
    in itself, with a region in parentheses.
    """
    import langcodes  # its tables take a while to load, and few requests name a language

    name = given.strip().casefold()
    if name.endswith(")"):
        name = name.partition("(")[0].rstrip()
    name = _OTHER_NAMES.get(name, name)
    try:
        language = langcodes.Language.get(langcodes.Language.get(served).language or served)
    except ValueError:  # a tag of nobody's language, which SpeechModels may have
        return name in (ANY, served.casefold())
    if name in (ANY, language.language_name().casefold(), language.autonym().casefold()):
        return True
    tag = _TAG.fullmatch(name)
    # langcodes keeps every tag that it parses, so it is given nothing but the two or three letters
    return tag is not None and langcodes.Language.get(tag[1]).language == language.language
