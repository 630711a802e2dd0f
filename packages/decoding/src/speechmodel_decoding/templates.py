"""Templates in hassil's syntax, as automata that are never multiplied out.

    (enciende|prende) [la] luz [de {habitacion}]

`(a|b)` is one of them, `[a]` is optional, `(a;b)` is both in any order, `{list}` is a value of a
list, and `{list:slot}` is one whose slot has another name. A backslash takes the next character as
it is. Parts are joined by single spaces, however many are left when an optional part is not said, and
without one behind an elided word: `(le|la|l') {object}`.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial

import kaldifst
import regex
from hassil import expression
from hassil.parse_expression import parse_sentence
from hassil.parser import ParseError

from speechmodel_decoding.errors import GrammarError
from speechmodel_decoding.labels import SPACE, Labels

SYNTAX = frozenset("()[]{}<>|;\\")
"""Characters that make a phrase a template."""
MOST_PERMUTED = 5
"""Parts of a permutation. Each more multiplies its size."""
LONGEST = 500
"""Characters of the longest phrase: about 40 s of speech."""
MOST_STATES = 1_000_000
"""States of an automaton. Each takes a few hundred bytes until the grammar is compiled."""
EPSILON = 0
JOINED = -1
"""Label of no character, behind which a space is dropped until `_squeezed` removes it."""


@dataclass
class Automaton:
    """A transducer from Kaldi's labels to marks of slots, with epsilons. State 0 is the start."""

    arcs: list[list[tuple[int, int, int]]] = field(default_factory=lambda: [[]])
    """For each state (input label, output mark, target) of each arc; 0 is none."""
    final: dict[int, int] = field(default_factory=dict)
    """The states that end a phrase, and the number of its intent in each. 0 is none."""

    def state(self) -> int:
        """Return a new state. Raises GrammarError beyond MOST_STATES."""
        if len(self.arcs) == MOST_STATES:
            raise GrammarError(
                f"the phrases have too many combinations (more than {MOST_STATES} states); "
                "use fewer lists, or fewer parts in any order"
            )
        self.arcs.append([])
        return len(self.arcs) - 1

    def link(self, source: int, target: int, label: int = EPSILON, mark: int = EPSILON) -> None:
        """Add an arc."""
        self.arcs[source].append((label, mark, target))

    def with_ends(self, label_of: Callable[[int], int]) -> "Automaton":
        """Return it with one label more behind each phrase, which is `label_of(intent)`."""
        last = len(self.arcs)
        behind = {state: (label_of(intent), EPSILON, last) for state, intent in self.final.items()}
        arcs = [[*arcs, behind[state]] if state in behind else arcs for state, arcs in enumerate(self.arcs)]
        return Automaton([*arcs, []], {last: 0})

    def to_openfst(self) -> kaldifst.StdVectorFst:
        """Return it as OpenFst's mutable type, arcs sorted by input label."""
        fst = kaldifst.StdVectorFst()
        for _ in self.arcs:
            fst.add_state()
        fst.start = 0
        for source, arcs in enumerate(self.arcs):
            for label, mark, target in sorted(arcs):
                fst.add_arc(source, kaldifst.StdArc(label, mark, 0.0, target))
        for state in self.final:
            fst.set_final(state, 0.0)
        return fst


def phrase_named(phrase: str, intent: str | None) -> str:
    """Return how errors name a phrase of an intent, or of none."""
    return f"the phrase {phrase!r}" if intent is None else f"the phrase {phrase!r} of the intent {intent!r}"


class Templates:
    """Adds templates to one automaton. Slots are numbered in the order of their first use."""

    def __init__(self, labels: Labels, lists: Mapping[str, Sequence[str]], elided: Set[str] = frozenset()) -> None:
        self._labels = labels
        self._lists = lists
        self._elided = (
            regex.compile(rf"(?<!\p{{L}})(?:{'|'.join(map(regex.escape, sorted(elided)))})'$") if elided else None
        )
        self._automaton = Automaton()
        self.slots: list[str] = []
        """Names of the slots. The mark 2 i + 1 opens slot i, and 2 i + 2 closes it."""

    def add(self, template: str, origin: str, intent: int) -> None:
        """Add a template of an intent, given by its number. Raises GrammarError, which calls the template `origin`, when it
        cannot be used.
        """
        tree = _parsed(template, origin)
        shortest, longest = self._extent(tree, origin)
        if not shortest:
            raise GrammarError(f"{origin} may be empty; put at least one word outside of the square brackets")
        if longest > LONGEST:
            raise GrammarError(f"{origin} has up to {longest} characters, more than {LONGEST}; split it")
        self._automaton.final[self._walk(tree, 0, origin)] = intent

    def automaton(self) -> Automaton:
        """Return the automaton of all templates, with single spaces between words and none at the ends."""
        return _squeezed(self._automaton, self._labels.of.get(SPACE))

    def _extent(self, item: expression.Expression, origin: str) -> tuple[int, int]:
        """Return the smallest and the largest number of characters, spaces left out and counted."""
        match item:
            case expression.TextChunk():
                return len(item.original_text.replace(SPACE, "")), len(item.original_text)
            case expression.Alternative():
                if _mixes_separators(item):
                    raise GrammarError(f"{origin} has ; and | between the same brackets; add brackets, as in ((a;b)|c)")
                extents = [self._extent(each, origin) for each in item.items]
                return min(low for low, _ in extents), max(high for _, high in extents)
            case expression.Group():  # a sequence, or a permutation
                extents = [self._extent(each, origin) for each in item.items]
                return sum(low for low, _ in extents), sum(high for _, high in extents)
            case expression.ListReference():
                name, values = _list_name(item), self._values(item, origin)
                extents = [self._extent(_value(value, name), origin) for value in values]
                if empty := [value for value, (low, _) in zip(values, extents, strict=True) if not low]:
                    raise GrammarError(f"the value {empty[0]!r} of the list {name!r} may be empty; remove it")
                if not item.slot_name.strip():
                    raise GrammarError(f"{origin} has a slot without a name; write {{{name}:name}} or {{{name}}}")
                return min(low for low, _ in extents), max(high for _, high in extents)
            case expression.RuleReference():
                raise GrammarError(
                    f"{origin} refers to a rule <{item.rule_name}>, and there are only lists; write {{{item.rule_name}}}"
                )
            case _:
                raise GrammarError(f"{origin} has a part that is not supported ({type(item).__name__})")

    def _values(self, reference: expression.ListReference, origin: str) -> Sequence[str]:
        if reference.is_inline_range or reference.is_capture:
            raise GrammarError(
                f"{origin}: {{{reference.list_name}}} is not a list; write the numbers as the words of a list"
            )
        name = _list_name(reference)
        values = self._lists.get(name)
        if not values:
            known = ", ".join(sorted(self._lists)) or "none"
            problem = "is empty" if values is not None else f"does not exist (lists: {known})"
            raise GrammarError(f"{origin}: the list {name!r} {problem}; add its values to decoding.lists")
        return values

    def _walk(self, item: expression.Expression, state: int, origin: str) -> int:
        """Add `item` after a state and return the state in which it ends."""
        automaton = self._automaton
        match item:
            case expression.TextChunk():
                for label in self._labels.encode(item.original_text, origin):
                    after = automaton.state()
                    automaton.link(state, after, label)
                    state = after
                if self._elided and self._elided.search(item.original_text.casefold()):
                    after = automaton.state()
                    automaton.link(state, after, JOINED)
                    state = after
                return state
            case expression.Permutation():
                return self._permuted(item.items, state, origin)
            case expression.Alternative():
                return self._joined([partial(self._walk, each, origin=origin) for each in item.items], state)
            case expression.Group():
                for part in item.items:
                    state = self._walk(part, state, origin)
                return state
            case expression.ListReference():
                return self._listed(item, state, origin)
            case _:
                raise AssertionError(item)  # _extent has refused it

    def _joined(self, branches: Sequence[Callable[[int], int]], state: int) -> int:
        end = self._automaton.state()
        for branch in branches:
            self._automaton.link(branch(state), end)
        return end

    def _permuted(self, items: Sequence[expression.Expression], state: int, origin: str) -> int:
        if len(items) > MOST_PERMUTED:
            raise GrammarError(
                f"{origin} has {len(items)} parts in any order, more than {MOST_PERMUTED}; write it as several phrases"
            )
        if not items:
            return state

        def branch(state: int, first: int) -> int:
            rest = [*items[:first], *items[first + 1 :]]
            return self._permuted(rest, self._walk(items[first], state, origin), origin)

        return self._joined([partial(branch, first=index) for index in range(len(items))], state)

    def _listed(self, reference: expression.ListReference, state: int, origin: str) -> int:
        name, list_name = reference.slot_name.strip(), _list_name(reference)
        if name not in self.slots:
            self.slots.append(name)
        number = self.slots.index(name)
        opened, closed = self._automaton.state(), self._automaton.state()
        self._automaton.link(state, opened, mark=2 * number + 1)
        for value in self._values(reference, origin):
            of_value = f"the value {value!r} of the list {list_name!r}"
            end = self._walk(_value(value, list_name), opened, of_value)
            self._automaton.link(end, closed, mark=2 * number + 2)
        return closed


def _parsed(template: str, origin: str) -> expression.Expression:
    try:
        return parse_sentence(" ".join(template.split())).expression
    except (ParseError, AssertionError, ValueError, IndexError) as error:
        # hassil asserts what it expects of a group
        raise GrammarError(
            f"{origin} cannot be read; check that every bracket is closed and not empty, that | and ; are not between the "
            "same brackets, and that no backslash is the last character"
        ) from error


def _mixes_separators(item: expression.Alternative) -> bool:
    """Return True for (a;b|c), of which hassil makes "ab". It reads [a;b] as one of a permutation and of nothing."""
    optional = item.is_optional and len(item.items) == 2
    return not optional and any(isinstance(each, expression.Permutation) for each in item.items)


def _list_name(reference: expression.ListReference) -> str:
    return reference.list_name.strip()


def _value(value: str, list_name: str) -> expression.Expression:
    origin = f"the value {value!r} of the list {list_name!r}"
    if not value.strip():
        raise GrammarError(f"{origin} is empty; remove it")
    tree = _parsed(value, origin)
    assert isinstance(tree, expression.Group)
    if any(True for _ in tree.list_references()):
        raise GrammarError(f"{origin} refers to a list; write the words of that list into it")
    return tree


_BEGIN, _WORD, _GAP, _ELIDED = range(4)
"""Nothing was said yet; the last character belongs to a word; a space is due before the next word; the last word is
joined to the next one.
"""


def _squeezed(automaton: Automaton, space: int | None) -> Automaton:
    """Return the automaton with one space for several, and none at the ends and behind elided words."""
    squeezed = Automaton()
    place = {(0, _BEGIN): 0}
    queue = [(0, _BEGIN)]

    def at(state: int, mode: int) -> int:
        if (state, mode) not in place:
            place[state, mode] = squeezed.state()
            queue.append((state, mode))
        return place[state, mode]

    for state, mode in queue:
        here = place[state, mode]
        if state in automaton.final and mode != _BEGIN:
            squeezed.final[here] = automaton.final[state]
        for label, mark, target in automaton.arcs[state]:
            if label == EPSILON:
                squeezed.link(here, at(target, mode), mark=mark)
            elif label == JOINED:
                squeezed.link(here, at(target, _ELIDED))
            elif label == space:
                squeezed.link(here, at(target, mode if mode in (_BEGIN, _ELIDED) else _GAP))
            elif mode == _GAP and space is not None:
                between = squeezed.state()
                squeezed.link(here, between, space)
                squeezed.link(between, at(target, _WORD), label)
            else:
                squeezed.link(here, at(target, _WORD), label)
    return squeezed
