"""One intent for each sentence of a grammar.

While a grammar with intents is compiled, each phrase ends with one label more: the one of its intent, or the one of phrases
without an intent. In the deterministic acceptor of all phrases, a state with two such labels ends a sentence of two
intents. So the check is exact for templates too, and multiplies none out.
"""

from collections.abc import Sequence

import numpy as np

from speechmodel_decoding.acceptor import Acceptor, const_bytes
from speechmodel_decoding.errors import GrammarError
from speechmodel_decoding.labels import Labels

NO_INTENT = 0
"""Number of phrases without an intent. The first intent is 1."""


def end_label(labels: Labels, intent: int) -> int:
    """Return the label that ends the phrases of an intent, given by its number. Labels of frames are smaller."""
    return labels.blank + 1 + intent


def require_one_intent(acceptor: Acceptor, labels: Labels, names: Sequence[str]) -> None:
    """Raise GrammarError, which gives the sentence, when one belongs to two intents, or to an intent and to none.

    `acceptor` has the labels at the ends, and `names` are the intents from number 1 on.
    """
    ends = acceptor.label > labels.blank
    several = np.flatnonzero(np.bincount(acceptor.source[ends], minlength=acceptor.states) > 1)
    if not len(several):
        return
    state = int(several[0])
    first, second, *_ = acceptor.label[ends & (acceptor.source == state)] - end_label(labels, NO_INTENT)
    both = (
        f"in the intent {names[second - 1]!r} and in decoding.phrases"
        if first == NO_INTENT
        else f"in the intents {names[first - 1]!r} and {names[second - 1]!r}"
    )
    sentence = labels.decode(_path_to(state, acceptor))
    raise GrammarError(f"the sentence {sentence!r} is {both}; keep it in one of them")


def without_ends(acceptor: Acceptor, labels: Labels) -> Acceptor:
    """Return the acceptor of the phrases without the labels at their ends."""
    ends = acceptor.label > labels.blank
    final = np.bincount(acceptor.source[ends], minlength=acceptor.states) > 0
    kept = ~acceptor.final  # only the states behind the ends are final
    number = np.cumsum(kept) - 1
    return Acceptor(number[acceptor.source[~ends]], acceptor.label[~ends], number[acceptor.target[~ends]], final[kept])


def intent_transducer(acceptor: Acceptor, labels: Labels) -> bytes:
    """Return the transducer from the characters of a phrase to the number of its intent, as an OpenFst file."""
    ends = acceptor.label > labels.blank
    arcs = np.zeros((len(acceptor.label), 2), np.int32)
    arcs[~ends, 0] = acceptor.label[~ends]
    arcs[ends, 1] = acceptor.label[ends] - end_label(labels, NO_INTENT)
    order = np.lexsort((arcs[:, 0], acceptor.source))
    return const_bytes(acceptor.source[order], arcs[order], acceptor.target[order], acceptor.final)


def _path_to(state: int, acceptor: Acceptor) -> list[int]:
    """Return the labels of a path to a state. The first arc into each state comes from one with a smaller number."""
    path: list[int] = []
    while state:
        arc = np.flatnonzero(acceptor.target == state)[0]
        path.append(int(acceptor.label[arc]))
        state = int(acceptor.source[arc])
    return path[::-1]
