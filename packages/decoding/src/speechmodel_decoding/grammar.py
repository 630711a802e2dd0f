"""A grammar: the closed set of phrases that a model may answer with, compiled for its alphabet.

Shortest use:

    grammar = compile_grammar(["ok espejo"], alphabet, templates=["pon [la] música"])
    Path("grammar.zip").write_bytes(grammar.to_bytes())
    grammar = Grammar.from_bytes(Path("grammar.zip").read_bytes(), alphabet)

The file is a zip archive of `grammar.json`, `graph.fst` (characters composed with the CTC topology)
and `slots.fst` (characters to marks of slots). Equal phrases and alphabets give equal bytes.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import kaldifst
import numpy as np
from pydantic import ValidationError
from speechmodel_api.base import Document

from speechmodel_decoding.acceptor import Acceptor, const_bytes, from_openfst, minimise, read_const, to_openfst, trie
from speechmodel_decoding.errors import GrammarError, GrammarFileError
from speechmodel_decoding.labels import Labels
from speechmodel_decoding.templates import LONGEST, SYNTAX, Automaton, Templates
from speechmodel_decoding.topology import ctc_graph

_ABOUT, _GRAPH, _SLOTS = "grammar.json", "graph.fst", "slots.fst"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, so that equal grammars are equal files."""


class About(Document):
    """grammar.json."""

    alphabet: tuple[str, ...]
    """Labels of the model that the grammar was compiled for."""
    slots: tuple[str, ...] = ()
    """Names of the slots, in the order of their marks."""


@dataclass(frozen=True)
class Grammar:
    """A compiled grammar."""

    about: About
    graph: bytes
    """The decoding graph as an OpenFst file."""
    slots: bytes
    """The transducer from characters to marks of slots as an OpenFst file. Empty without slots."""

    @cached_property
    def labels(self) -> Labels:
        """The labels of the model."""
        return Labels(self.about.alphabet)

    def to_bytes(self) -> bytes:
        """Return the grammar as a file."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            about = self.about.model_dump_json(by_alias=True).encode()
            for name, data in ((_ABOUT, about), (_GRAPH, self.graph), (_SLOTS, self.slots)):
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, alphabet: Sequence[str]) -> "Grammar":
        """Return the grammar in a file, for a model with this alphabet. Raises GrammarFileError."""
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                about = About.model_validate_json(archive.read(_ABOUT))
                grammar = cls(about, archive.read(_GRAPH), archive.read(_SLOTS))
        except (zipfile.BadZipFile, KeyError, ValidationError) as error:
            raise GrammarFileError(f"the grammar is damaged ({error}); fetch it again") from error
        if about.alphabet != tuple(alphabet):
            raise GrammarFileError(
                "the grammar was compiled for a model with another alphabet; evaluate the model again"
            )
        return grammar

    def accepts(self, text: str) -> bool:
        """Return True for a phrase of the grammar."""
        try:
            characters = self.labels.encode(text, text)
        except GrammarError:
            return False
        frames = [label for character in characters for label in (character, self.labels.blank)]
        paths = kaldifst.compose(kaldifst.make_linear_acceptor(frames), self._graph)
        return bool(paths.num_states)

    def phrases(self) -> Iterator[str]:
        """Yield every phrase once, in the order of the alphabet.

        A grammar may have more phrases than can be listed: take as many as are needed.
        """
        graph, labels = self._graph, self.labels
        stack = [(graph.start, "")]  # states whose last label is a blank, and the text that leads there
        while stack:
            state, text = stack.pop()
            if text and graph.final(state).value < np.inf:
                yield text
            stack += [
                (_after_blank(graph, arc.nextstate, labels.blank), text + labels.decode([arc.olabel]))
                for arc in reversed(list(kaldifst.ArcIterator(graph, state)))
                if arc.olabel not in (0, labels.catch_all)
            ]

    @cached_property
    def _graph(self) -> kaldifst.StdFst:
        return read_const(self.graph)

    def filled_slots(self, text: str) -> dict[str, str]:
        """Return the words that each slot of a phrase has, by the slot's name.

        Of several readings of the phrase, it is always the same one.
        """
        if not self.slots:
            return {}
        phrase = kaldifst.make_linear_acceptor(self.labels.encode(text, text))
        readings = kaldifst.compose(phrase, self._slot_transducer)
        return _spans(kaldifst.shortest_path(readings), self.about.slots, self.labels)

    @cached_property
    def _slot_transducer(self) -> kaldifst.StdFst:
        return read_const(self.slots)


def _after_blank(graph: kaldifst.StdFst, state: int, blank: int) -> int:
    target: int = next(arc.nextstate for arc in kaldifst.ArcIterator(graph, state) if arc.ilabel == blank)
    return target


def compile_grammar(
    phrases: Sequence[str],
    alphabet: Sequence[str],
    *,
    templates: Sequence[str] = (),
    lists: Mapping[str, Sequence[str]] | None = None,
) -> Grammar:
    """Return the grammar of literal `phrases` and of `templates`, for a model with this alphabet.

    Raises GrammarError, which names the phrase or the list and says what to do.
    """
    labels = Labels(alphabet)
    literal = [*phrases, *(template.strip() for template in templates if SYNTAX.isdisjoint(template))]
    compiled = Templates(labels, lists or {})
    structured = [template for template in templates if not SYNTAX.isdisjoint(template)]
    for template in structured:
        compiled.add(template)
    parts = []
    if literal:
        parts.append(minimise(trie([_encoded(phrase, labels) for phrase in literal])))
    slots = b""
    if structured:
        automaton = compiled.automaton()
        slots = _const(automaton) if compiled.slots else b""
        parts.append(minimise(_determinised(_without_marks(automaton))))
    if not parts:
        raise GrammarError("the grammar has no phrases; give at least one")
    acceptor = parts[0] if len(parts) == 1 else minimise(_determinised(_union(parts)))
    about = About(alphabet=tuple(alphabet), slots=tuple(compiled.slots))
    return Grammar(about, ctc_graph(acceptor, labels), slots)


def _encoded(phrase: str, labels: Labels) -> list[int]:
    words = " ".join(phrase.split())
    if not words:
        raise GrammarError(f"the phrase {phrase!r} is empty; write its words, or remove it")
    if len(words) > LONGEST:
        raise GrammarError(f"the phrase {words[:40]!r}... has {len(words)} characters, more than {LONGEST}; split it")
    return labels.encode(words, f"the phrase {words!r}")


def _without_marks(automaton: Automaton) -> kaldifst.StdVectorFst:
    plain = Automaton(
        [[(label, label, target) for label, _, target in arcs] for arcs in automaton.arcs], automaton.final
    )
    return plain.to_openfst()


def _determinised(fst: kaldifst.StdVectorFst) -> Acceptor:
    kaldifst.rmepsilon(fst)
    return from_openfst(kaldifst.determinize(fst))


def _union(parts: Sequence[Acceptor]) -> kaldifst.StdVectorFst:
    """Return an automaton with the phrases of all parts, whose start leads to theirs by epsilons."""
    sizes = [part.states for part in parts]
    offsets = 1 + np.cumsum(sizes) - sizes
    source = np.concatenate(
        [np.zeros(len(parts), np.int64), *(p.source + at for p, at in zip(parts, offsets, strict=True))]
    )
    target = np.concatenate([offsets, *(p.target + at for p, at in zip(parts, offsets, strict=True))])
    label = np.concatenate([np.zeros(len(parts), np.int32), *(p.label for p in parts)])
    final = np.concatenate([[False], *(p.final for p in parts)])
    return to_openfst(Acceptor(source, label, target, final))


def _const(automaton: Automaton) -> bytes:
    rows = [
        (source, label, mark, target)
        for source, arcs in enumerate(automaton.arcs)
        for label, mark, target in sorted(arcs)
    ]
    table = np.array(rows, np.int64)
    final = np.zeros(len(automaton.arcs), bool)
    final[list(automaton.final)] = True
    return const_bytes(table[:, 0], table[:, 1:3].astype(np.int32), table[:, 3], final)


def _spans(path: kaldifst.StdVectorFst, slots: Sequence[str], labels: Labels) -> dict[str, str]:
    """Return the characters between the marks of each slot on a path of the slot transducer."""
    found: dict[str, str] = {}
    opened: dict[int, list[int]] = {}
    state = path.start
    while state >= 0:
        following = -1
        for arc in kaldifst.ArcIterator(path, state):
            mark = arc.olabel
            if mark % 2:
                opened[(mark - 1) // 2] = []
            elif mark:
                slot = (mark - 2) // 2
                found[slots[slot]] = labels.decode(opened.pop(slot)).strip()
            if arc.ilabel:
                for characters in opened.values():
                    characters.append(arc.ilabel)
            following = arc.nextstate
        state = following
    return found
