"""The labels of a model as Kaldi numbers them.

Kaldi's label 0 means "no frame", so the label of class i is i + 1. The blank is the last class.
"""

import unicodedata
from collections.abc import Sequence

from speechmodel_api.alphabet import CATCH_ALL

from speechmodel_decoding.errors import GrammarError

SPACE = " "


class Labels:
    """The alphabet of a model, in the order of the network's outputs."""

    def __init__(self, alphabet: Sequence[str]) -> None:
        self.alphabet = tuple(alphabet)
        self.blank = len(alphabet) + 1
        """Kaldi's label of the CTC blank."""
        numbered = {character: index + 1 for index, character in enumerate(alphabet)}
        self.catch_all = numbered.pop(CATCH_ALL, None)
        """Kaldi's label for everything but the phrases, if the model has one."""
        self.of = numbered
        """Kaldi's label by character. The catch-all label is not a character."""

    def encode(self, text: str, origin: str) -> list[int]:
        """Return Kaldi's labels of a text. A capital that the alphabet lacks is read as its small
        letter.

        Raises GrammarError, which names the text `origin` and the characters.
        """
        try:
            return list(map(self.of.__getitem__, text))
        except KeyError:
            return self._encode_with_care(text, origin)

    def decode(self, labels: Sequence[int]) -> str:
        """Return the text of Kaldi's labels."""
        return "".join(self.alphabet[label - 1] for label in labels)

    def _encode_with_care(self, text: str, origin: str) -> list[int]:
        composed = unicodedata.normalize("NFC", text)
        lowered = unicodedata.normalize("NFC", "".join(c if c in self.of else c.lower() for c in composed))
        if missing := sorted({c for c in lowered if c not in self.of}):
            named = ", ".join("the space" if c == SPACE else repr(c) for c in missing)
            raise GrammarError(
                f"{origin}: the model's alphabet does not contain {named}; write the words as in the transcripts, "
                "or train with recordings that contain them"
            )
        return [self.of[character] for character in lowered]
