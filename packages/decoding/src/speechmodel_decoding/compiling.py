"""Compile phrases and templates into a grammar.

Shortest use:

    grammar = compile_grammar(["ok espejo"], alphabet, templates=["pon [la] música"])
    Path("grammar.zip").write_bytes(grammar.to_bytes())
"""

from collections.abc import Mapping, Sequence

import kaldifst
import numpy as np

from speechmodel_decoding.acceptor import Acceptor, const_bytes, from_openfst, minimise, to_openfst, trie
from speechmodel_decoding.errors import GrammarError
from speechmodel_decoding.grammar import About, Grammar
from speechmodel_decoding.labels import Labels
from speechmodel_decoding.templates import LONGEST, SYNTAX, Automaton, Templates
from speechmodel_decoding.topology import ctc_graph


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
