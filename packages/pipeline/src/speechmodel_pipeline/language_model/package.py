"""Scorers of DeepSpeech 0.9.3: a language model, its weights, and the automaton of its words in the labels
of a model (the format is described in speechmodel_runtime.scorer).
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import kaldifst
from speechmodel_runtime.scorer import SPACE, aligned_automaton, header

from speechmodel_pipeline.language_model.kenlm import write_binary
from speechmodel_pipeline.language_model.kneser_ney import SPECIAL_WORDS, LanguageModel

ALPHA, BETA = 0.931289039105002, 1.1834137581510284
"""Weights of the language model and of each word as upstream tuned them for English. They are tuned
on the dev clips again unless the spec gives them."""


def write_scorer(model: LanguageModel, labels: Sequence[bytes], path: Path) -> None:
    """Write a scorer of `model` to `path` for a network with these labels, the space among them.

    All words of the language model must be in these labels.
    """
    with path.open("wb") as file:
        write_binary(model, file)
        file.write(header(ALPHA, BETA))
        automaton = _automaton(model.vocabulary[len(SPECIAL_WORDS) :], labels)
        file.write(aligned_automaton(automaton, file.tell()))


def _automaton(words: Iterable[str], labels: Sequence[bytes]) -> bytes:
    """Return the acceptor of the words, each followed by the space, as an OpenFst of the type `const`.

    Its labels are those of the network plus one, because 0 means no label.
    """
    number = {label.decode(): index + 1 for index, label in enumerate(labels)}
    lines: list[str] = []
    state = 0
    finals: list[int] = []
    for word in words:
        source = 0
        for character in f"{word}{SPACE.decode()}":
            state += 1
            lines.append(f"{source} {state} {number[character]}")
            source = state
        finals.append(state)
    text = "\n".join([*lines, *map(str, finals)]) + "\n"
    automaton = kaldifst.determinize(kaldifst.compile(text, acceptor=True))
    kaldifst.minimize(automaton)
    kaldifst.arcsort(automaton, "ilabel")
    with tempfile.NamedTemporaryFile() as file:
        kaldifst.StdConstFst(automaton).write(file.name)
        return file.read()
