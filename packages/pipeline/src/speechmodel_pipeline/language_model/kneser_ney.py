"""N-gram probabilities by interpolated modified Kneser-Ney smoothing (Chen and Goodman, 1998), with the
definitions of KenLM's lmplz: each sentence begins with <s> and ends with </s>, unigrams are
interpolated with the uniform distribution, and nothing is pruned.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SPECIAL_WORDS = ("<unk>", "<s>", "</s>")
"""Words 0, 1 and 2: any other word, the begin and the end of a sentence."""
UNKNOWN, BEGIN, END = range(3)
FALLBACK_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])
"""Discounts of n-grams that were counted 0, 1, 2 and at least 3 times, where too few n-grams are counted
once, twice or three times to estimate them: those of lmplz --discount_fallback."""


@dataclass(frozen=True)
class NGrams:
    """All n-grams of one length n, a row each."""

    words: Integers
    """Numbers of the words in the order of the text, [n-grams, n]"""
    probabilities: Floats
    """Probability of the last word after the others, [n-grams]. That of <s> is 1."""
    backoffs: Floats
    """Factor of the shorter n-gram's probability where a longer one with these words first is unknown,
    [n-grams]"""
    begins_longer: Flags
    """True where an n-gram of n + 1 words begins with these, [n-grams]"""
    ends_longer: Flags
    """True where an n-gram of n + 1 words ends with these, [n-grams]"""


@dataclass(frozen=True)
class LanguageModel:
    """Probabilities of word sequences."""

    vocabulary: tuple[str, ...]
    """Words by number, SPECIAL_WORDS first."""
    orders: tuple[NGrams, ...]
    """The n-grams of 1, 2, ... words."""


@dataclass(frozen=True)
class _Counted:
    """The n-grams of one length, as counted."""

    prefix: Integers
    """Row of the n-gram without its last word, one length below. 0 for unigrams."""
    suffix: Integers
    """Row of the n-gram without its first word, one length below. 0 for unigrams."""
    words: Integers
    occurrences: Integers


def estimate(sentences: Iterable[Sequence[str]], order: int) -> LanguageModel:
    """Return the model of `sentences` with n-grams of up to `order` words, 2 or more.

    The order is lower where no sentence is that long. Raises ValueError without any word.
    """
    number = {word: index for index, word in enumerate(SPECIAL_WORDS)}
    text: list[int] = []
    for sentence in sentences:
        text += [BEGIN, *(number.setdefault(word, len(number)) for word in sentence), END]
    if len(number) == len(SPECIAL_WORDS):
        raise ValueError("a language model needs at least one word")
    counted = _count(np.array(text, np.int64), len(number), order)
    return LanguageModel(tuple(number), tuple(_smoothed(counted)))


def _count(text: Integers, vocabulary: int, order: int) -> list[_Counted]:
    ends = np.flatnonzero(text == END)
    left = ends[np.searchsorted(ends, np.arange(len(text)))] - np.arange(len(text)) + 1
    none = np.zeros(vocabulary, np.int64)
    tables = [
        _Counted(none, none, np.arange(vocabulary)[:, np.newaxis], np.bincount(text, minlength=vocabulary)),
    ]
    rows = text  # the row of the n-gram that begins at each word
    for n in range(2, order + 1):
        starts = np.flatnonzero(left >= n)
        if not len(starts):
            break
        pairs = rows[starts] * vocabulary + text[starts + n - 1]
        found, first, row, occurrences = np.unique(pairs, return_index=True, return_inverse=True, return_counts=True)
        prefix, last = np.divmod(found, vocabulary)
        words = np.column_stack([tables[-1].words[prefix], last])
        tables.append(_Counted(prefix, rows[starts[first] + 1], words, occurrences))
        rows = np.full_like(text, -1)
        rows[starts] = row
    return tables


def _smoothed(tables: Sequence[_Counted]) -> list[NGrams]:
    """Return the n-grams with their probabilities, the shortest first."""
    smoothed: list[NGrams] = []
    lower, contexts = np.ones(1), 1
    for table, longer in zip(tables, [*tables[1:], None], strict=True):
        rows = len(table.words)
        counts = table.occurrences if longer is None else _adjusted(table, longer)
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        totals = np.bincount(table.prefix, counts, contexts)
        freed = np.bincount(table.prefix, discounts, contexts) / np.maximum(totals, 1)
        if smoothed:
            smoothed[-1].backoffs[smoothed[-1].begins_longer] = freed[smoothed[-1].begins_longer]
        else:
            lower = np.full(1, 1 / (rows - 1))  # <s> never follows anything
        probabilities = (counts - discounts) / totals[table.prefix] + freed[table.prefix] * lower[table.suffix]
        if not smoothed:
            probabilities[BEGIN] = 1
        begins, ends = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
        if longer is not None:
            begins[longer.prefix], ends[longer.suffix] = True, True
        smoothed.append(NGrams(table.words, probabilities, np.ones(rows), begins, ends))
        lower, contexts = probabilities, rows
    return smoothed


def _adjusted(table: _Counted, longer: _Counted) -> Integers:
    """Return the number of different words before each n-gram, and that of occurrences for those that begin a
    sentence.
    """
    before = np.bincount(longer.suffix, minlength=len(table.words))
    begins_sentence = (table.words[:, 0] == BEGIN) & (table.words.shape[1] > 1)
    return np.where(begins_sentence, table.occurrences, before)


def _discounts(counts: Integers) -> Floats:
    """Return what is taken from n-grams with counts of 0, 1, 2 and at least 3."""
    of_count = np.bincount(counts, minlength=5)[:5].astype(float)
    if not of_count[1:4].all():
        return FALLBACK_DISCOUNTS
    several = np.arange(1, 4)
    share = of_count[1] / (of_count[1] + 2 * of_count[2])
    discounts = several - (several + 1) * share * of_count[2:] / of_count[1:4]
    return np.array([0, *discounts]) if ((discounts > 0) & (discounts <= several)).all() else FALLBACK_DISCOUNTS
