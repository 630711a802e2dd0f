"""Words that a client says are likely, and the warning that a version cannot use them."""

from speechmodel_inference.decoders import hot_words
from speechmodel_inference.openai_types import RequestWarning, Warned
from speechmodel_inference.version import ServedVersion


def prompt_warnings(text: str, version: ServedVersion, *, field: str) -> list[Warned]:
    """Return the warning about the words in `text` that have no effect on this version. `field` is where the client gave them."""
    decoder = version.decoder
    if decoder.takes_hot_words or not hot_words(text):
        return []
    reason = "its grammar decides" if decoder.has_grammar else "it has no scorer (decoding.scorer)"
    message = f"The {field} has no effect on version {version.manifest.version}, because {reason}."
    return [Warned(kind=RequestWarning.PROMPT_UNUSED, message=message)]
