"""The settings of the decoder, as the spec gives them to the stages."""

from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.decoders import Decoding


def decoding(spec: SpeechModelSpec) -> Decoding:
    """Return the decoding settings, which evaluation and serving share."""
    source = spec.decoding.source(spec.dataset.format)
    free_text = source is GrammarSource.FREE_TEXT
    return Decoding(
        beam_width=spec.decoding.beam_width,
        grammar=source,
        phrases=spec.decoding.phrases,
        intents=spec.decoding.intents,
        lists=spec.decoding.lists if source is GrammarSource.PHRASES else {},
        foreign_speech=spec.decoding.foreign_speech if free_text else ForeignSpeech.TRANSCRIBE,
        scorer=spec.decoding.scorer if free_text else None,
    )
