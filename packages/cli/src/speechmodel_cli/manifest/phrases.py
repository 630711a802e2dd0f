"""The phrases of a manifest are compiled before anything is trained, because evaluate needs them last."""

from collections.abc import Sequence

from speechmodel_api.spec import SpeechModelSpec


def phrase_problem(spec: SpeechModelSpec, alphabet: Sequence[str] = ()) -> str | None:
    """Return why the phrases cannot be used, or None when they can.

    `alphabet` is that of the prepared dataset. Without it and `dataset.alphabet`, every letter of the phrases is in it.
    """
    decoding, dataset = spec.decoding, spec.dataset
    if not decoding.phrases:
        return None
    from speechmodel_decoding.errors import GrammarError
    from speechmodel_decoding.text.phrases import as_trained
    from speechmodel_decoding.text.settings import TextSettings

    known = frozenset(dataset.alphabet or alphabet)
    try:
        settings = TextSettings(spec.language, known, dataset.annotations, dataset.numbers)
        phrases = as_trained(decoding.phrases, decoding.lists, settings)
        phrases.compile(sorted({" ", *(known or phrases.characters)}))
    except GrammarError as error:
        return str(error)
    return None
