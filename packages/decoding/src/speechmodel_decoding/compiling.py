"""Compile phrases and templates into a grammar.

Shortest use:

    grammar = compile_grammar(["ok espejo"], alphabet, intents={"PlayMusic": ["pon [la] música"]})
    Path("grammar.zip").write_bytes(grammar.to_bytes())
"""

from collections.abc import Mapping, Sequence, Set

import kaldifst
import numpy as np

from speechmodel_decoding.acceptor import Acceptor, const_bytes, from_openfst, minimise, to_openfst, trie
from speechmodel_decoding.errors import GrammarError
from speechmodel_decoding.grammar import About, Grammar
from speechmodel_decoding.intents import (
    NO_INTENT,
    end_label,
    intent_transducer,
    require_one_intent,
    without_ends,
)
from speechmodel_decoding.labels import Labels
from speechmodel_decoding.templates import LONGEST, SYNTAX, Automaton, Templates, phrase_named
from speechmodel_decoding.topology import ctc_graph


def compile_grammar(
    phrases: Sequence[str],
    alphabet: Sequence[str],
    *,
    templates: Sequence[str] = (),
    intents: Mapping[str, Sequence[str]] | None = None,
    lists: Mapping[str, Sequence[str]] | None = None,
    elided: Set[str] = frozenset(),
) -> Grammar:
    """Return the grammar of literal `phrases`, of `templates` and of `intents`, for a model with this alphabet.

    `intents` are templates by the name of their intent, in any order, and `elided` are words that templates join to the
    next one, without their apostrophe. Raises GrammarError, which names the phrase, the intent
    or the list and says what to do, and for a sentence that two intents share.
    """
    labels, names = Labels(alphabet), sorted(intents or {})
    written: list[tuple[str, str | None]] = [(template, None) for template in templates]
    written += [(template, name) for name in names for template in (intents or {})[name]]
    number = {None: NO_INTENT} | {name: index for index, name in enumerate(names, 1)}
    literal: list[tuple[str, str | None]] = [(phrase, None) for phrase in phrases]
    literal += [(template.strip(), intent) for template, intent in written if SYNTAX.isdisjoint(template)]
    structured = [(template, intent) for template, intent in written if not SYNTAX.isdisjoint(template)]
    compiled = Templates(labels, lists or {}, elided)
    for template, intent in structured:
        compiled.add(template, phrase_named(template, intent), number[intent])

    def end(intent: int) -> int:
        return end_label(labels, intent)

    parts = []
    if literal:
        ends = {name: [end(index)] if names else [] for name, index in number.items()}
        parts.append(minimise(trie([_encoded(phrase, labels, intent) + ends[intent] for phrase, intent in literal])))
    slots = b""
    if structured:
        automaton = compiled.automaton()
        slots = _const(automaton) if compiled.slots else b""
        parts.append(minimise(_determinised(_without_marks(automaton.with_ends(end) if names else automaton))))
    if not parts:
        raise GrammarError("the grammar has no phrases; give at least one")
    acceptor = parts[0] if len(parts) == 1 else minimise(_determinised(_union(parts)))
    of_intents = b""
    if names:
        require_one_intent(acceptor, labels, names)
        of_intents = intent_transducer(acceptor, labels)
        acceptor = minimise(without_ends(acceptor, labels))
    about = About(alphabet=tuple(alphabet), slots=tuple(compiled.slots), intents=tuple(names))
    return Grammar(about, ctc_graph(acceptor, labels), slots, of_intents)


def _encoded(phrase: str, labels: Labels, intent: str | None) -> list[int]:
    words = " ".join(phrase.split())
    if not words:
        raise GrammarError(f"{phrase_named(phrase, intent)} is empty; write its words, or remove it")
    if len(words) > LONGEST:
        origin = phrase_named(f"{words[:40]}...", intent)
        raise GrammarError(f"{origin} has {len(words)} characters, more than {LONGEST}; split it")
    return labels.encode(words, phrase_named(words, intent))


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
