"""Whether the model will be able to say the phrases and hot words of decoding, which evaluate asks only after training."""

import logging
from collections.abc import Sequence

from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.decoding_spec import GrammarSource
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import RESULT_LIMIT
from speechmodel_api.stages.decoders import UnusableWords
from speechmodel_api.stages.prepare import PrepareInput, PrepareOutput
from speechmodel_decoding.errors import GrammarError
from speechmodel_decoding.text.phrases import compile_phrases, hot_word_problem

from speechmodel_pipeline.prepare.bounded import beginning

log = logging.getLogger(__name__)

PROBLEM_BYTES, FEWEST_BYTES = 300, 80
"""Bytes of JSON for the problem, at most and at least. The log has all of it."""
AROUND_BYTES = 300
"""Bytes of JSON around the output and the problem in the result of the stage."""


def with_unusable_words(output: PrepareOutput, task: PrepareInput, alphabet: Sequence[str]) -> PrepareOutput:
    """Return the output with the problem of unusable_words, cut so that the result fits RESULT_LIMIT, or without it where
    it does not fit. evaluate reports it then.
    """
    if (found := unusable_words(task, alphabet)) is None:
        return output
    log.warning("%s: %s", found.reason, found.message)
    taken = len(output.model_dump_json(by_alias=True, exclude_none=True).encode())
    room = min(PROBLEM_BYTES, RESULT_LIMIT - AROUND_BYTES - taken)
    if room < FEWEST_BYTES:
        return output
    cut = found.model_copy(update={"message": beginning(found.message, room)})
    return output.model_copy(update={"unusable_words": cut})


def unusable_words(task: PrepareInput, alphabet: Sequence[str]) -> UnusableWords | None:
    """Return the first phrase or hot word that a model with this alphabet cannot be decoded with, or None."""
    if (decoding := task.decoding) is None:
        return None
    labels = frozenset(alphabet) - {CATCH_ALL}
    hot_words = decoding.scorer.hot_words if decoding.scorer else {}
    if problem := hot_word_problem(hot_words, labels):
        message = f"decoding.scorer.hotWords: {problem}"
        return UnusableWords(words_digest=decoding.words_digest, reason=Reason.INVALID_SCORER, message=message)
    if decoding.grammar is not GrammarSource.PHRASES:
        return None
    try:
        compile_phrases(decoding, alphabet, task.language, task.annotations, task.numbers)
    except GrammarError as error:
        return UnusableWords(
            words_digest=decoding.words_digest,
            reason=Reason.INVALID_GRAMMAR,
            message=f"decoding: {error}",
        )
    return None
