"""`SpeechModel.spec.decoding`: how audio becomes text."""

import json
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from speechmodel_api.base import ApiModel
from speechmodel_api.dataset_spec import DatasetFormat
from speechmodel_api.schema import cel

MOST_GRAMMAR_BYTES = 124 * 1024
"""Largest size of all phrases, intents and lists as JSON in UTF-8. Stage programs receive them in an environment
variable, which Linux limits to 128 KiB, with less than 4 KiB of keys and paths."""
_PHRASES_RULE = (
    "(has(self.phrases) && size(self.phrases) > 0) || (has(self.intents) && size(self.intents) > 0) "
    "? !has(self.grammar) || self.grammar == 'Phrases' : !has(self.grammar) || self.grammar != 'Phrases'"
)
_PHRASES_MESSAGE = "set phrases or intents if grammar is Phrases, and leave both out if grammar is Dataset or FreeText"

_SEPARATED = "size(bytes({}.join('\",\"')))"
_SIZE_RULE = (
    f"(has(self.phrases) ? {_SEPARATED.format('self.phrases')} : 0) + (has(self.lists) ? "
    f"self.lists.map(name, size(bytes(name)) + {_SEPARATED.format('self.lists[name]')} + 5).sum() : 0) <= {MOST_GRAMMAR_BYTES}"
)
"""It leaves out intents, whose estimated cost is above the budget of the API server, and what JSON escapes."""
_SIZE_ADVICE = "remove some, or use the grammar Dataset and put them into the transcripts"
_SIZE_MESSAGE = f"phrases, intents and lists must have at most {MOST_GRAMMAR_BYTES} bytes as JSON; {_SIZE_ADVICE}"


class GrammarSource(StrEnum):
    """Origin of the phrases that a model may answer with."""

    DATASET = "Dataset"
    PHRASES = "Phrases"
    FREE_TEXT = "FreeText"


class ForeignSpeech(StrEnum):
    """Defines what free text makes of speech that is unlike the dataset."""

    TRANSCRIBE = "Transcribe"
    REJECT = "Reject"


_Path = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^/.][^/]*(/[^/.][^/]*)*$")]
_SCORER_RULE = "has(self.path) != has(self.build)"
_SCORER_MESSAGE = "set exactly one of path and build"


class ScorerBuild(ApiModel):
    """Text that a scorer is built from. `build: {}` builds it from the transcripts."""

    text: _Path | None = None
    """Text file in UTF-8 with one sentence per line, relative to the folder of the dataset, such as
    `sentences.txt`. It is normalised by the rules for transcripts; whole numbers are spelled as by
    `dataset.numbers: Spell`, and text in brackets is dropped. Lines with other numbers, such as
    `canal 1 por favor`, and with characters outside of the alphabet are left out, and counted in
    the report. After you change the file, change `dataset.revision`. If not set, the scorer is
    built from the transcripts of the training clips, so that sentences like these are recognised
    and no other words."""
    order: Annotated[int, Field(ge=2, le=6)] = 3
    """Number of words in the longest n-grams that are counted. A larger one pays off for long text
    only. Defaults to 3."""


class Scorer(ApiModel, json_schema_extra=cel(_SCORER_RULE, _SCORER_MESSAGE)):
    """A language model for free text, as DeepSpeech's `--scorer`: a file, or built by the evaluate stage.
    Only its words are recognised."""

    path: _Path | None = None
    """File of DeepSpeech 0.9.3, relative to the folder of the dataset, such as `es.scorer`. It must be
    made for the alphabet of the model, so give `dataset.alphabet` too unless it was made from the
    alphabet of this dataset. After you change the file, change `dataset.revision`; nothing is trained if
    the recordings are the same. A file that you add to a bucket later is found with another
    `dataset.revision` only. Each evaluation stores a copy of the file in the workspace claim, so each
    edit of the scorer, its weights or hot words needs that much space again. Mutually exclusive with
    build."""
    build: ScorerBuild | None = None
    """Text that the scorer is built from, for the alphabet of the model. Mutually exclusive with path."""
    alpha: Annotated[float, Field(ge=0, le=20)] | None = None
    """Weight of the language model against the network. If not set, it is tuned on the dev clips."""
    beta: Annotated[float, Field(ge=-20, le=20)] | None = None
    """Reward of each word, in natural logarithms. A larger one gives more and shorter words. If not
    set, it is tuned on the dev clips."""
    hot_words: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=63)], Annotated[float, Field(ge=-100, le=100)]],
        Field(max_length=100),
    ] = {}
    """Words that are more likely than the language model says, such as names, each with its boost
    in natural logarithms, as for DeepSpeech's `--hot_words`. A boost of a few units is already
    strong; a negative one makes the word less likely. Every word must be a word of the scorer, in
    the letters of the transcripts. DeepSpeech does not boost the last word of a recording."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        if (self.path is None) == (self.build is None):
            raise ValueError(_SCORER_MESSAGE)

    @property
    def file(self) -> str | None:
        """File in the folder of the dataset that the scorer is, or is built from; None for transcripts."""
        return self.build.text if self.build else self.path


_Phrases = tuple[Annotated[str, Field(min_length=1, max_length=500)], ...]
IntentName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_./-]*$")]
"""Name of an intent as others write them: HassTurnOn, ask_weather, faq/ask_name, turn-on, lights.on."""


class DecodingSpec(ApiModel, json_schema_extra=cel(_PHRASES_RULE, _PHRASES_MESSAGE, (_SIZE_RULE, _SIZE_MESSAGE))):
    """Settings of the decoder, which turns audio into text. Evaluation and serving share them."""

    beam_width: Annotated[int, Field(ge=1, le=10000)] = 500
    """Number of beams that the decoder keeps in free text. A larger width is slower and rarely more
    accurate. After a change, the model is evaluated and published again but not trained. Defaults to
    500, as in DeepSpeech."""
    grammar: GrammarSource | None = None
    """Origin of the phrases that the model may answer with. Dataset is every transcript of the
    dataset. Phrases takes them from the fields phrases and intents. With either, a recording of anything else gives an empty
    text. FreeText is any sequence of characters. After a change, the model is evaluated and
    published again but not trained. Defaults to Phrases if there are phrases or intents, else to Dataset for
    the dataset format Commands, and to FreeText for the others."""
    phrases: Annotated[_Phrases, Field(max_length=1000)] = ()
    """Phrases that the model may answer with, and templates in the syntax of hassil: `(a|b)` is one
    of them, `[a]` is optional, `(a;b)` is both in any order, `{name}` is a value of the list of that
    name, and `{list:slot}` gives its slot another name. If a phrase fills a slot several times, its
    later values are `<slot>_2`, `<slot>_3` and so on. Every character must be in the alphabet of
    the model; a backslash takes the next character as it is. In French, Italian, Catalan and Occitan, an elided
    word is joined to the next one: `(le|la|l') {object}`. If grammar is Phrases, set phrases,
    intents or both. Phrases, intents and lists together may have 124 KiB as JSON; larger sets belong in the
    transcripts of the dataset."""
    intents: Annotated[
        dict[IntentName, Annotated[_Phrases, Field(min_length=1, max_length=1000)]], Field(max_length=1000)
    ] = {}
    """Phrases that the model may answer with, grouped by intent, such as `TurnOn`. They may be templates, as
    in phrases, and use the same lists. Answers report the intent beside the slots. Put phrases that have no
    intent in phrases. A name has 1 to 63 characters: letters, digits and `_.-/`; the first is a letter or `_`.
    A sentence may belong to one intent only: if two intents, or an intent and phrases, share a sentence, the
    grammar is rejected with a message that quotes it. After a change, the model is evaluated and published
    again but not trained."""
    lists: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=63)],
            Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=1000)],
        ],
        Field(max_length=32),
    ] = {}
    """Values of the lists that phrases and intents refer to, by the name of the list. A value may be a
    template without lists. Answers report which value was said. With `dataset.numbers: Spell`, a value such as `21`
    is rejected if its spelling depends on the next word and a phrase continues after the list. Write such a value in words."""
    foreign_speech: ForeignSpeech = ForeignSpeech.TRANSCRIBE
    """Defines what free text makes of speech that is unlike the dataset: another language, other words,
    noise. Transcribe writes down what it resembles. Reject gives an empty text. The threshold loses 1 %
    of the right dev clips; the report shows how many test clips it rejects, and how many negatives it
    accepts. After a change, the model is evaluated and published again but not trained. A grammar
    always rejects, so the field has no effect with one. Defaults to
    Transcribe, because a text with errors is often more useful than none."""
    scorer: Scorer | None = None
    """Language model for free text. After a change, the model is evaluated and published again but not
    trained. It has no effect with a grammar. If not set, any sequence of characters is possible."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        needed = self.grammar is GrammarSource.PHRASES
        written = bool(self.phrases or self.intents)
        if written != needed and not (written and self.grammar is None):
            raise ValueError(_PHRASES_MESSAGE)
        # a grammar without intents has the size of before
        parts = (self.phrases, self.lists, *([self.intents] if self.intents else []))
        content = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
        if (size := len(content.encode())) > MOST_GRAMMAR_BYTES:
            raise ValueError(
                f"phrases, intents and lists have {size} bytes as JSON; at most {MOST_GRAMMAR_BYTES} are allowed; {_SIZE_ADVICE}"
            )

    def source(self, format: DatasetFormat) -> GrammarSource:  # noqa: A002 - the field's name in the spec
        """Return the origin of the phrases for a dataset of this format."""
        if self.grammar is not None:
            return self.grammar
        if self.phrases or self.intents:
            return GrammarSource.PHRASES
        return GrammarSource.DATASET if format is DatasetFormat.COMMANDS else GrammarSource.FREE_TEXT
