"""Phrases, intents and lists of `decoding`, normalised as transcripts are.

A phrase may be a template (speechmodel_decoding.templates). The rules change what is spoken in it, and leave
brackets, separators, escaped characters and the names of lists as they are.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import regex
from speechmodel_api.dataset_spec import Numbers
from speechmodel_api.decoding_spec import DecodingSpec
from speechmodel_api.stages.decoders import Decoding

from speechmodel_decoding.compiling import compile_grammar
from speechmodel_decoding.errors import GrammarError
from speechmodel_decoding.grammar import Grammar
from speechmodel_decoding.templates import phrase_named
from speechmodel_decoding.text.normalise import TranscriptUnusable, separates
from speechmodel_decoding.text.numbers import spelled
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_decoding.text.settings import TextSettings, normalise_for

_PARTS = regex.compile(r"\{[^{}]*\}|<[^<>]*>|\\.?|[()\[\]{}<>|;]|([^()\[\]{}<>|;\\]+)", regex.DOTALL)

_SPOKEN = regex.compile(r"[\p{L}\p{M}\p{N}[\p{S}--\p{Sk}]]", regex.VERSION1)


@dataclass(frozen=True)
class PhrasesAsTrained:
    """Phrases, intents and lists in the characters of the transcripts."""

    phrases: tuple[str, ...]
    intents: Mapping[str, tuple[str, ...]]
    lists: Mapping[str, tuple[str, ...]]

    @property
    def characters(self) -> Set[str]:
        """The characters of all of them, with those of the syntax."""
        every = (self.phrases, *self.intents.values(), *self.lists.values())
        return {character for texts in every for text in texts for character in text}

    def compile(self, alphabet: Sequence[str]) -> Grammar:
        """Return the grammar for a model with this alphabet. Raises GrammarError."""
        return compile_grammar([], alphabet, templates=self.phrases, intents=self.intents, lists=self.lists)


def as_trained(decoding: DecodingSpec | Decoding, settings: TextSettings) -> PhrasesAsTrained:
    """Return phrases, intents and lists as transcripts would be trained.

    Raises GrammarError for a phrase that no transcript may have,
    such as one with digits. With an alphabet, compiling names the characters that it lacks.
    """

    def normalised(text: str, origin: str) -> str:
        try:
            return _PARTS.sub(lambda part: _spoken(part, settings) if part[1] else part[0], text)
        except TranscriptUnusable as problem:
            if settings.alphabet:
                return text
            raise GrammarError(f"{origin}: {problem}") from problem

    return PhrasesAsTrained(
        tuple(normalised(phrase, phrase_named(phrase, None)) for phrase in decoding.phrases),
        {
            name: tuple(normalised(phrase, phrase_named(phrase, name)) for phrase in phrases)
            for name, phrases in decoding.intents.items()
        },
        {
            name: tuple(normalised(value, f"the value {value!r} of the list {name!r}") for value in values)
            for name, values in decoding.lists.items()
        },
    )


def hot_word_problem(hot_words: Iterable[str], labels: Set[str]) -> str | None:
    """Return why the first hot word that has letters outside of `labels` cannot be used, or None when all can."""
    for word in hot_words:
        if missing := sorted(set(word) - labels):
            named = ", ".join(map(repr, missing))
            return f"the hot word {word!r} is never said, because the alphabet has no {named}; correct or remove it"
    return None


def _spoken(part: regex.Match[str], settings: TextSettings) -> str:
    """Return a part of a phrase, with a space beside another part where the marks between them would become one."""
    text, beside_opening, beside_closing = part[1], part.start() > 0, part.end() < len(part.string)
    spoken = [at for at, character in enumerate(text) if _is_spoken(character, settings.alphabet)]
    if not spoken:
        return " " if beside_opening and beside_closing and separates(text, settings.alphabet) else ""
    opening = " " if beside_opening and separates(text[: spoken[0]], settings.alphabet) else ""
    closing = " " if beside_closing and separates(text[spoken[-1] + 1 :], settings.alphabet) else ""
    touches = (beside_opening and not opening and text[0].isdigit()) or (
        beside_closing and not closing and text[-1].isdigit()
    )
    if touches or (closing and _depends_on_next(part, settings.language)):
        settings = replace(settings, numbers=Numbers.REJECT)
    try:
        return f"{opening}{normalise_for(settings, text).text}{closing}"
    except TranscriptUnusable as problem:
        if problem.reason is RejectionReason.EMPTY_TRANSCRIPT and (beside_opening or beside_closing):
            return " "  # an annotation alone
        raise


def _depends_on_next(part: regex.Match[str], language: str) -> bool:
    """Return True for a part that ends with a number that is not spelled before another word."""
    number = regex.search(r"\p{Nd}+(?=\s*$)", part[1])
    word = regex.search(r"\p{L}", part.string)
    return bool(number and word and spelled(f"{number[0]} {word[0]}", language).startswith(number[0]))


def _is_spoken(character: str, alphabet: Set[str]) -> bool:
    kept = character in alphabet and not character.isspace()
    return kept or bool(_SPOKEN.match(character))
