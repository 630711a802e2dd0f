"""The phrases of a manifest are compiled before anything is trained, because evaluate needs them last."""

from collections.abc import Sequence

from speechmodel_api.decoding_spec import DecodingSpec


def phrase_problem(decoding: DecodingSpec, alphabet: Sequence[str] = ()) -> str | None:
    """Return why the phrases cannot be used with `alphabet`, or None when they can.

    Without an alphabet, every character of the phrases is in it.
    """
    if not decoding.phrases:
        return None
    from speechmodel_decoding.compiling import compile_grammar
    from speechmodel_decoding.errors import GrammarError

    written = "".join(text for texts in (decoding.phrases, *decoding.lists.values()) for text in texts)
    labels = {*alphabet, " "} if alphabet else {" ", *written, *written.lower()}
    try:
        compile_grammar([], sorted(labels), templates=decoding.phrases, lists=decoding.lists)
    except GrammarError as error:
        return str(error)
    return None
