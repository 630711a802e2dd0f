"""The phrases of a manifest are compiled before anything is trained, because evaluate needs them last."""

from collections.abc import Sequence

from speechmodel_api.decoding_spec import DecodingSpec


def phrase_problem(
    decoding: DecodingSpec, language: str, given: Sequence[str], alphabet: Sequence[str] = ()
) -> str | None:
    """Return why the phrases cannot be used, or None when they can.

    `given` is `dataset.alphabet`, and `alphabet` that of the dataset. Without one, every letter of the phrases is in it.
    """
    if not decoding.phrases:
        return None
    from speechmodel_decoding.errors import GrammarError
    from speechmodel_decoding.text.phrases import as_trained

    try:
        phrases = as_trained(decoding.phrases, decoding.lists, language, frozenset(given or alphabet))
        phrases.compile(sorted({" ", *(given or alphabet or phrases.characters)}))
    except GrammarError as error:
        return str(error)
    return None
