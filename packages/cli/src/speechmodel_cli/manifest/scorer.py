"""The scorer of a manifest is checked with its dataset before anything is trained, because evaluate needs it last."""

from collections.abc import Sequence
from pathlib import Path

from speechmodel_api.decoding_spec import GrammarSource
from speechmodel_api.spec import SpeechModelSpec


def scorer_problem(spec: SpeechModelSpec, dataset: Path, alphabet: Sequence[str]) -> str | None:
    """Return why the scorer in the folder `dataset` cannot be used with `alphabet`, or None when it can."""
    scorer = spec.decoding.scorer
    if scorer is None or spec.decoding.source(spec.dataset.format) is not GrammarSource.FREE_TEXT:
        return None
    if scorer.path is None:
        if scorer.file is None or (dataset / scorer.file).is_file():
            return None
        return f"decoding.scorer.build.text: {dataset / scorer.file} is not a file; copy it there, or correct the path"
    from speechmodel_runtime import ScorerWords
    from speechmodel_runtime.errors import ScorerError

    try:
        words = ScorerWords(dataset / scorer.path, [label.encode() for label in alphabet])
    except ScorerError as error:
        return f"decoding.scorer.path: {error}"
    if unknown := [word for word in scorer.hot_words if word not in words]:
        lacking = f"{dataset / scorer.path}: does not contain the hot word {unknown[0]!r}"
        return f"decoding.scorer.path: {lacking}; remove it from decoding.scorer.hotWords"
    return None
