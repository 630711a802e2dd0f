"""Phrases, intents and lists of `decoding`, normalised as transcripts are.

A phrase may be a template (speechmodel_decoding.templates). The rules change what is spoken in it, and leave
brackets, separators, escaped characters and the names of lists as they are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

import regex
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.decoding_spec import DecodingSpec
from speechmodel_api.stages.decoders import Decoding

from speechmodel_decoding.compiling import compile_grammar
from speechmodel_decoding.errors import GrammarError
from speechmodel_decoding.grammar import Grammar
from speechmodel_decoding.templates import phrase_named
from speechmodel_decoding.text.elision import elided_words
from speechmodel_decoding.text.normalise import (
    APOSTROPHES,
    SPOKEN_SIGNS,
    TranscriptUnusable,
    apostrophe_inside,
    not_spelled_out,
    separates,
)
from speechmodel_decoding.text.numbers import spelled
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_decoding.text.settings import TextSettings, normalise_for

_PARTS = regex.compile(r"\{[^{}]*\}|<[^<>]*>|\\.?|[()\[\]{}<>|;]|([^()\[\]{}<>|;\\]+)", regex.DOTALL)

_SPOKEN = regex.compile(rf"[\p{{L}}\p{{M}}\p{{N}}[\p{{S}}--\p{{Sk}}]{SPOKEN_SIGNS}]", regex.VERSION1)
_LETTER = r"[\p{L}\p{M}]"
_ENDING_APOSTROPHE = regex.compile(rf"(?<={_LETTER})[{APOSTROPHES}]$")
_BEGINNING_APOSTROPHE = regex.compile(rf"^[{APOSTROPHES}](?={_LETTER})")
_OPENING_QUOTE = regex.compile(rf"(?<!{_LETTER})[{APOSTROPHES}](?={_LETTER})")
_CLOSING_QUOTE = regex.compile(rf"(?<={_LETTER})[{APOSTROPHES}](?!{_LETTER})")


@dataclass(frozen=True)
class PhrasesAsTrained:
    """Phrases, intents and lists in the characters of the transcripts."""

    phrases: tuple[str, ...]
    intents: Mapping[str, tuple[str, ...]]
    lists: Mapping[str, tuple[str, ...]]
    elided: Set[str] = field(default=frozenset())
    """Words of the language that are joined to the next one by their apostrophe, such as l' in French."""

    @property
    def characters(self) -> Set[str]:
        """The characters of all of them, with those of the syntax."""
        every = (self.phrases, *self.intents.values(), *self.lists.values())
        return {character for texts in every for text in texts for character in text}

    def compile(self, alphabet: Sequence[str]) -> Grammar:
        """Return the grammar for a model with this alphabet. Raises GrammarError."""
        return compile_grammar(
            [], alphabet, templates=self.phrases, intents=self.intents, lists=self.lists, elided=self.elided
        )


def compile_phrases(
    decoding: DecodingSpec | Decoding,
    alphabet: Sequence[str],
    language: str,
    annotations: Annotations,
    numbers: Numbers,
) -> Grammar:
    """Return the grammar of phrases, intents and lists for a model with this alphabet. Raises GrammarError."""
    settings = TextSettings(language, frozenset(alphabet) - {CATCH_ALL}, annotations, numbers)
    return as_trained(decoding, settings).compile(alphabet)


def as_trained(decoding: DecodingSpec | Decoding, settings: TextSettings) -> PhrasesAsTrained:
    """Return phrases, intents and lists as transcripts would be trained.

    Raises GrammarError for a phrase without words, and for one that no transcript may have,
    such as one with digits. With an alphabet, compiling names the characters that it lacks.
    """
    templates = (*decoding.phrases, *(phrase for phrases in decoding.intents.values() for phrase in phrases))

    def normalised(text: str, origin: str, behind: str = "", *, used: bool = True) -> str:
        try:
            changed = _PARTS.sub(lambda part: _spoken(part, settings, behind) if part[1] else part[0], text)
        except TranscriptUnusable as problem:
            if settings.alphabet and not (used and problem.reason is RejectionReason.NOT_SPELLED_OUT):
                return text
            raise GrammarError(f"{origin}: {problem}") from problem
        if text.strip() and not changed.strip():
            raise GrammarError(f"{origin} has only punctuation; write its words, or remove it")
        return changed

    def values(name: str) -> tuple[str, ...]:
        behind = [_after(template, end) for template in templates for end in _references(name, template)]
        return tuple(
            normalised(value, f"the value {value!r} of the list {name!r}", "".join(behind), used=bool(behind))
            for value in decoding.lists[name]
        )

    return PhrasesAsTrained(
        tuple(normalised(phrase, phrase_named(phrase, None)) for phrase in decoding.phrases),
        {
            name: tuple(normalised(phrase, phrase_named(phrase, name)) for phrase in phrases)
            for name, phrases in decoding.intents.items()
        },
        {name: values(name) for name in decoding.lists},
        elided_words(settings.language),
    )


def hot_word_problem(hot_words: Iterable[str], labels: Set[str]) -> str | None:
    """Return why the first hot word that has letters outside of `labels` cannot be used, or None when all can."""
    for word in hot_words:
        if missing := sorted(set(word) - labels):
            named = ", ".join(map(repr, missing))
            return f"the hot word {word!r} is never said, because the alphabet has no {named}; correct or remove it"
    return None


def _references(name: str, template: str) -> Iterator[int]:
    """Yield the places behind the references of a template to a list."""
    for part in _PARTS.finditer(template):
        if part[0].startswith("{") and part[0].strip("{}").partition(":")[0].strip() == name:
            yield part.end()


def _after(template: str, at: int) -> str:
    """Return the parts of a template that may be said behind a place, without the alternatives beside it."""
    kept, depth, beside = [], 0, False
    for part in _PARTS.finditer(template, at):
        if part[0] in "([":
            depth += 1
        elif part[0] in ")]" and depth:
            depth -= 1
        elif part[0] in ")]":
            beside = False
            continue
        elif part[0] == "|" and not depth:
            beside = True
        if not beside:
            kept.append(part[0])
    return "".join(kept)


def _spoken(part: regex.Match[str], settings: TextSettings, behind: str) -> str:
    """Return a part of a phrase, with a space beside another part where the marks between them would become one.

    `behind` is what may be said behind the whole text, which is a value of a list.
    """
    text, beside_opening, beside_closing = part[1], part.start() > 0, part.end() < len(part.string)
    first, text, last = _with_apostrophes(part, settings)
    spoken = [at for at, character in enumerate(text) if _is_spoken(character, settings.alphabet)]
    if not spoken:
        return " " if beside_opening and beside_closing and separates(text, settings.alphabet) else ""
    opening = " " if beside_opening and separates(text[: spoken[0]], settings.alphabet) else ""
    closing = " " if beside_closing and separates(text[spoken[-1] + 1 :], settings.alphabet) else ""
    number = (
        (regex.match(r"\p{Nd}+", text) if beside_opening and not opening else None)
        or (regex.search(r"\p{Nd}+$", text) if beside_closing and not closing else None)
        or (_counting_number(part, part.string if closing else behind, settings.language) if not last else None)
    )
    if number and settings.numbers is Numbers.SPELL and not set(number[0]) <= settings.alphabet:
        raise not_spelled_out([number[0]], text.strip(), "its word may depend on what is said beside it")
    try:
        return f"{opening}{first}{normalise_for(settings, text).text}{last}{closing}"
    except TranscriptUnusable as problem:
        if problem.reason is RejectionReason.EMPTY_TRANSCRIPT and (beside_opening or beside_closing):
            return " "  # an annotation alone
        raise


def _with_apostrophes(part: regex.Match[str], settings: TextSettings) -> tuple[str, str, str]:
    """Return a part of a phrase between the apostrophes at its ends that are inside a word: l'{object}, {name}'s.

    Alone, the part would lose them.
    """
    text, first, last = part[1], "", ""
    end = _ENDING_APOSTROPHE.search(text) if part.end() < len(part.string) else None
    if end and not _OPENING_QUOTE.search(text) and _goes_on(part, settings.language):
        text, last = text[:-1], apostrophe_inside(text[-1], text[-2], settings.language, settings.alphabet)
    begins = part.start() > 0 and part.string[part.start() - 1] in ")]}" and _BEGINNING_APOSTROPHE.search(text)
    if begins and not _CLOSING_QUOTE.search(text):
        first, text = apostrophe_inside(text[0], text[1], settings.language, settings.alphabet), text[1:]
    return first, text, last


def _goes_on(part: regex.Match[str], language: str) -> bool:
    """Return True if the word that ends a part with an apostrophe is joined to the next one."""
    word = regex.search(rf"{_LETTER}+(?=.$)", part[1])
    elided = word is not None and word[0].casefold() in elided_words(language)
    return elided or bool(regex.match(rf"[\[(]*(?:{_LETTER}|\{{)", _after(part.string, part.end())))


def _counting_number(part: regex.Match[str], others: str, language: str) -> regex.Match[str] | None:
    """Return the number that ends a part and is not spelled before another word. `others` has such words."""
    number = regex.search(r"\p{Nd}+(?=\s*$)", part[1])
    word = regex.search(r"\p{L}", others)
    depends = number and word and spelled(f"{number[0]} {word[0]}", language).startswith(number[0])
    return number if depends else None


def _is_spoken(character: str, alphabet: Set[str]) -> bool:
    kept = character in alphabet and not character.isspace()
    return kept or bool(_SPOKEN.match(character))
