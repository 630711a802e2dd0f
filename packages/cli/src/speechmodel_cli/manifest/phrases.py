"""The phrases of a manifest are compiled before anything is trained, because evaluate needs them last."""

from collections.abc import Sequence

from speechmodel_api.decoding_spec import DecodingSpec
from speechmodel_api.field_problems import Location
from speechmodel_api.spec import SpeechModelSpec


def phrase_problem(spec: SpeechModelSpec, alphabet: Sequence[str] = ()) -> tuple[Location, str] | None:
    """Return where in the spec the phrases or hot words are that cannot be used, and why, or None when they can.

    `alphabet` is that of the prepared dataset. Without it and `dataset.alphabet`, every letter of the phrases is in it.
    """
    decoding, dataset = spec.decoding, spec.dataset
    hot_words = decoding.scorer.hot_words if decoding.scorer else {}
    if not decoding.phrases and not decoding.intents and not hot_words:
        return None
    from speechmodel_decoding.errors import GrammarError
    from speechmodel_decoding.text.phrases import as_trained, hot_word_problem
    from speechmodel_decoding.text.settings import TextSettings

    known = frozenset(dataset.alphabet or alphabet)
    if known and (problem := hot_word_problem(hot_words, known | {" "})):
        return ("decoding", "scorer", "hotWords"), problem
    if not decoding.phrases and not decoding.intents:
        return None
    try:
        settings = TextSettings(spec.language, known, dataset.annotations, dataset.numbers)
        phrases = as_trained(decoding, settings)
        phrases.compile(sorted({" ", *(known or phrases.characters)}))
    except GrammarError as error:
        return _place(decoding), str(error)
    return None


def _place(decoding: DecodingSpec) -> Location:
    """Return the field that has all phrases. With both fields, it is the one around them: the problem names the intent."""
    if not decoding.intents:
        return ("decoding", "phrases")
    return ("decoding",) if decoding.phrases else ("decoding", "intents")
