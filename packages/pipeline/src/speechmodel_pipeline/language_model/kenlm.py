"""Language models in KenLM's binary format for `probing` models without the strings of the vocabulary, which
libdeepspeech reads.

    header       what kind of file it is, and the number of n-grams of each length
    vocabulary   hash table: hash of a word -> number of the word
    unigrams     a row per word
    n-grams      for each length from 2, a hash table: hash of the words -> probability and backoff

Logarithms have the base 10. A hash table finds a key at its hash modulo the number of buckets, or in
the first bucket after it that is not taken by another key.
"""

import struct
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from speechmodel_pipeline.language_model.kneser_ney import UNKNOWN, LanguageModel, NGrams

LARGEST_ORDER = 6
"""Longest n-grams that KenLM in libdeepspeech was compiled for."""

_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n".ljust(56, b"\0")
_NUMBER_FORMATS = struct.pack("<fffIIIQ", 0, 1, -0.5, 1, 0xFFFFFFFF, 0, 1)
"""Values by which a reader checks that its machine stores numbers in the same way."""
_PARAMETERS = struct.Struct("<B3xfiB3xI")
"""Order, buckets per entry, kind of model, whether the vocabulary's strings follow, version."""
_PROBING, _VERSION = 0, 0
_VOCABULARY_HEADER = struct.Struct("<II")
"""Version, number of words."""
_BUCKETS_PER_ENTRY = 1.5
_WORD = np.dtype([("key", "<u8"), ("word", "<u4")])
_UNIGRAM = np.dtype([("probability", "<f4"), ("backoff", "<f4")])
_MIDDLE = np.dtype([("key", "<u8"), ("probability", "<f4"), ("backoff", "<f4")])
_LONGEST = np.dtype([("key", "<u8"), ("probability", "<f4")])
_ALIGNMENT = 8


def write_binary(model: LanguageModel, file: BinaryIO) -> None:
    """Write `model`, of order 2 to LARGEST_ORDER, to `file`."""
    orders = model.orders
    header = _MAGIC + _NUMBER_FORMATS
    header += _PARAMETERS.pack(len(orders), _BUCKETS_PER_ENTRY, _PROBING, False, _VERSION)
    header += struct.pack(f"<{len(orders)}Q", *(len(each.words) for each in orders))
    file.write(header + bytes(-len(header) % _ALIGNMENT))
    file.write(_VOCABULARY_HEADER.pack(_VERSION, len(model.vocabulary)))
    words = np.zeros(len(model.vocabulary) - 1, _WORD)
    words["word"] = np.arange(UNKNOWN + 1, len(model.vocabulary))
    words["key"] = [murmur_hash(word.encode()) for word in model.vocabulary[UNKNOWN + 1 :]]
    file.write(_hash_table(words, len(model.vocabulary)).tobytes())
    file.write(_rows(orders[0], _UNIGRAM).tobytes() + bytes(_UNIGRAM.itemsize))  # room for a word that is not used
    for ngrams in orders[1:-1]:
        file.write(_hash_table(_rows(ngrams, _MIDDLE), len(ngrams.words)).tobytes())
    file.write(_hash_table(_rows(orders[-1], _LONGEST), len(orders[-1].words)).tobytes())


def _rows(ngrams: NGrams, row: np.dtype[np.void]) -> npt.NDArray[np.void]:
    """Return the n-grams as entries of a table.

    The signs of numbers that have only one are flags: a probability is positive where a longer n-gram ends with the
    words, and a backoff of -0 says that no longer one begins with them.
    """
    rows = np.zeros(len(ngrams.words), row)
    logarithms = np.abs(np.log10(ngrams.probabilities))
    rows["probability"] = np.where(ngrams.ends_longer, logarithms, -logarithms)
    names: Sequence[str] = row.names or ()
    if "backoff" in names:
        rows["backoff"] = np.where(ngrams.begins_longer, np.log10(ngrams.backoffs) + 0.0, -0.0)
    if "key" in names:
        rows["key"] = _keys(ngrams)
    return rows


def _keys(ngrams: NGrams) -> npt.NDArray[np.uint64]:
    """Return the hash of each n-gram, from its last word to its first."""
    words = ngrams.words.astype(np.uint64)
    keys = words[:, -1]
    for word in words[:, -2::-1].T:
        keys = keys * np.uint64(8978948897894561157) ^ (word + np.uint64(1)) * np.uint64(17894857484156487943)
    return keys


def _hash_table(entries: npt.NDArray[np.void], room: int) -> npt.NDArray[np.void]:
    """Return the buckets of a table with these entries and room for `room`. A bucket with the key 0 is free."""
    buckets = max(room + 1, int(np.float32(_BUCKETS_PER_ENTRY) * np.float32(room)))
    wanted = (entries["key"] % np.uint64(buckets)).astype(np.int64)
    in_order = np.argsort(wanted, kind="stable")
    steps = np.arange(len(entries))
    # each takes its bucket, or the one after its predecessor's
    taken = np.maximum.accumulate(wanted[in_order] - steps) + steps
    table = np.zeros(buckets, entries.dtype)
    inside = taken < buckets
    table[taken[inside]] = entries[in_order[inside]]
    beyond = entries[in_order[~inside]]
    table[np.flatnonzero(table["key"] == 0)[: len(beyond)]] = beyond
    return table


def murmur_hash(data: bytes) -> int:
    """Return the 64-bit MurmurHash2 of `data` (variant A, seed 0), by which KenLM finds words."""
    factor, mask = 0xC6A4A7935BD1E995, 0xFFFFFFFFFFFFFFFF
    found = len(data) * factor & mask
    whole = len(data) & ~7
    for (part,) in struct.iter_unpack("<Q", data[:whole]):
        part = part * factor & mask
        part = (part ^ part >> 47) * factor & mask
        found = (found ^ part) * factor & mask
    if rest := data[whole:]:
        found = (found ^ int.from_bytes(rest, "little")) * factor & mask
    found = (found ^ found >> 47) * factor & mask
    return found ^ found >> 47
