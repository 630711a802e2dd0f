"""The errors of decoding by a grammar. Every message says what is wrong and what to do next:

DecodingError
+-- GrammarError          a phrase, a template or a list cannot be used
+-- GrammarFileError      a compiled grammar is damaged, or belongs to another model
+-- AcousticModelError    the acoustic model cannot be loaded or run
"""


class DecodingError(Exception):
    """The base of every error of this package."""


class GrammarError(DecodingError):
    """A phrase, a template or a list cannot be used."""


class GrammarFileError(DecodingError):
    """A compiled grammar is damaged, or was compiled for another alphabet."""


class AcousticModelError(DecodingError):
    """The acoustic model cannot be loaded, or gives frames that are not numbers."""
