"""The search for the phrase of a grammar that fits the frames of a recording best.

Kaldi's beam search finds the phrase; CTC's forward recursion scores it exactly. The score is the
log probability of all paths of the phrase divided by its characters. speech_time.py multiplies it by
the time of speech for the decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import kaldi_decoder
import kaldifst
import numpy as np

from speechmodel_decoding.acceptor import read_const
from speechmodel_decoding.acoustic import LogProbabilities
from speechmodel_decoding.alignment import Span, align, forward_score
from speechmodel_decoding.grammar import Grammar
from speechmodel_decoding.labels import SPACE

BEAM = 16.0
"""Natural log probability that a path may be behind the best one. At 10 the search already found
the best phrase of every one of 895 clips."""
MOST_ACTIVE = 7000
"""Paths kept in each frame. It bounds the time for vague frames and large grammars."""
MOST_CELLS = 2_000_000
"""Frames times states of the grammar's graph up to which other phrases are searched. That search has no
limit of paths: on flat frames it takes about 6 s for so many, and on clear ones less than 0.3 s."""
MOST_LATTICE_STATES = 20_000
"""States of a lattice up to which other phrases are read from it, in about 2 s. Clear frames give
hundreds."""


@dataclass(frozen=True)
class Phrase:
    """A phrase of the grammar that fits the frames."""

    text: str
    score: float
    """Log probability of the phrase for each of its characters. 0 is best."""
    spans: tuple[Span, ...]
    """The frames of each character of the text."""

    def words(self) -> list[tuple[str, tuple[Span, ...]]]:
        """Return each word with the spans of its characters."""
        words, begin = [], 0
        for word in self.text.split(SPACE):
            words.append((word, self.spans[begin : begin + len(word)]))
            begin += len(word) + 1
        return words


def word_score(spans: Sequence[Span]) -> float:
    """Return the mean log probability of the characters of a word."""
    return float(np.mean([span.score for span in spans]))


class Decoder:
    """Decodes frames by a grammar. Safe for any number of threads."""

    def __init__(self, grammar: Grammar, *, beam: float = BEAM) -> None:
        self._grammar = grammar
        self._graph = read_const(grammar.graph)
        self._beam = beam

    def decode(self, frames: LogProbabilities, *, alternatives: int = 1) -> list[Phrase]:
        """Return up to `alternatives` different phrases, by their best paths, the best first.

        The first does not depend on `alternatives`. The others are left out when the search for them
        would take too long, see MOST_CELLS. The list is empty when no phrase fits within the beam, and
        when the model's catch-all label fits better than every phrase.
        """
        frames = np.ascontiguousarray(frames, np.float32)
        best = self._best(frames)
        catch_all = self._grammar.labels.catch_all
        if not best or catch_all in best:
            return []
        found = self._several(frames, alternatives) if alternatives > 1 else []
        others = [labels for labels in found if labels and labels != best and catch_all not in labels]
        return [self._scored(frames, labels) for labels in (best, *others[: alternatives - 1])]

    def score(self, frames: LogProbabilities, text: str) -> Phrase:
        """Return a phrase with its score, whether or not it fits best."""
        return self._scored(frames, self._grammar.labels.encode(text, text))

    def _best(self, frames: LogProbabilities) -> list[int]:
        """Return the output labels of the best path, none when no path ends a phrase."""
        options = kaldi_decoder.FasterDecoderOptions(beam=self._beam, max_active=MOST_ACTIVE)
        decoder = kaldi_decoder.FasterDecoder(self._graph, options)
        decoder.decode(kaldi_decoder.DecodableCtc(frames))
        # without a final state, the best path is the beginning of a phrase
        if not decoder.reached_final():
            return []
        complete, path = decoder.get_best_path()
        return list(kaldifst.get_linear_symbol_sequence(path)[2]) if complete else []

    def _several(self, frames: LogProbabilities, most: int) -> list[list[int]]:
        """Return the output labels of the best paths, each sequence of labels once. None when the search
        would take too long.
        """
        if len(frames) * self._graph.num_states > MOST_CELLS:
            return []
        config = kaldi_decoder.LatticeSimpleDecoderConfig(beam=self._beam, lattice_beam=self._beam)
        decoder = kaldi_decoder.LatticeSimpleDecoder(self._graph, config)
        decoder.decode(kaldi_decoder.DecodableCtc(frames))
        if not np.isfinite(decoder.final_relative_cost()):
            return []
        complete, lattice = decoder.get_raw_lattice()
        if not complete or lattice.num_states > MOST_LATTICE_STATES:
            return []
        texts = _outputs(lattice)
        kaldifst.rmepsilon(texts)
        best = kaldifst.shortest_path(kaldifst.determinize(texts), n=most)
        paths = [kaldifst.get_linear_symbol_sequence(path) for path in kaldifst.convert_nbest_to_vector(best)]
        return [list(labels) for _, _, labels, _ in sorted(paths, key=lambda path: path[3].value)]

    def _scored(self, frames: LogProbabilities, labels: Sequence[int]) -> Phrase:
        classes = [label - 1 for label in labels]
        score = forward_score(frames, classes) / len(classes)
        return Phrase(self._grammar.labels.decode(labels), score, tuple(align(frames, classes)))


def _outputs(lattice: kaldifst.Lattice) -> kaldifst.StdVectorFst:
    """Return the acceptor of the output labels of a lattice, with its weights.

    Only the text of a lattice is public: `source target input output graph,acoustic` for an arc,
    and `state graph,acoustic` for a final state, where weights of 0 are left out.
    """
    texts = kaldifst.StdVectorFst()
    for _ in range(lattice.num_states):
        texts.add_state()
    texts.start = lattice.start
    for line in lattice.to_str(fst_field_separator=" ").splitlines():
        state, *rest = line.split()
        if len(rest) < 3:
            texts.set_final(int(state), _weight(rest))
        else:
            target, _, output, *weight = rest
            texts.add_arc(int(state), kaldifst.StdArc(int(output), int(output), _weight(weight), int(target)))
    return texts


def _weight(parts: Sequence[str]) -> float:
    return sum(float(cost) for part in parts for cost in part.split(","))
