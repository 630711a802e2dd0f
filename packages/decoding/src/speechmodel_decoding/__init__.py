"""Decoding of frames: by a grammar a phrase of a closed set or nothing, or free text.

Shortest use:

    model = AcousticModel(Path("acoustic.onnx"))
    grammar = Grammar.from_bytes(Path("grammar.zip").read_bytes(), alphabet)
    decision = Recogniser(model, grammar, calibration).recognise(pcm)
    print(decision.text or "nothing of the set")
"""

import os

# From 1.29 on, ONNX Runtime sends its maker the names and digests of networks and more about the machine. It reads this
# while it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from speechmodel_decoding.acoustic import AcousticModel, LogProbabilities
from speechmodel_decoding.alignment import forward_score
from speechmodel_decoding.beam_search import BeamSearch, Spelling
from speechmodel_decoding.calibration import (
    Examples,
    calibrate,
    expected_calibration_error,
    fit,
    phrase_confidence,
    threshold_of,
    word_confidence,
)
from speechmodel_decoding.decoder import Decoder, Phrase, word_score
from speechmodel_decoding.free_text import FreeTextRecogniser, TextJudge
from speechmodel_decoding.grammar import Grammar
from speechmodel_decoding.recogniser import Candidate, Decision, Recogniser, Word, only_intent
from speechmodel_decoding.speech_time import speech_seconds, timed_score
from speechmodel_decoding.text_scores import TextScorer, text_score
from speechmodel_decoding.utterances import SHORT_SECONDS, Cutter, Utterance, cut_at_pauses, decode_short

__all__ = [
    "SHORT_SECONDS",
    "AcousticModel",
    "BeamSearch",
    "Candidate",
    "Cutter",
    "Decision",
    "Decoder",
    "Examples",
    "FreeTextRecogniser",
    "Grammar",
    "LogProbabilities",
    "Phrase",
    "Recogniser",
    "Spelling",
    "TextJudge",
    "TextScorer",
    "Utterance",
    "Word",
    "calibrate",
    "cut_at_pauses",
    "decode_short",
    "expected_calibration_error",
    "fit",
    "forward_score",
    "only_intent",
    "phrase_confidence",
    "speech_seconds",
    "text_score",
    "threshold_of",
    "timed_score",
    "word_confidence",
    "word_score",
]
