from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from speechmodel_api.stages.decoders import Calibration
from speechmodel_decoding import AcousticModel, Recogniser
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_decoding.errors import GrammarFileError

from .conftest import Heard

CALIBRATION = Calibration(threshold=-0.05, offset=-2.0, slope=1.5, word_offset=-2.0, word_slope=1.5)
TIMED = CALIBRATION.model_copy(update={"speech_time": True})
STRICT = Calibration(threshold=-1e-9, offset=-2.0, slope=1.5, word_offset=-2.0, word_slope=1.5)


def recogniser(
    model: AcousticModel, alphabet: tuple[str, ...], *phrases: str, to: Calibration = CALIBRATION
) -> Recogniser:
    lists = {"quien": ["hija", "hijo", "nuera"]}
    return Recogniser(model, compile_grammar([], alphabet, templates=phrases, lists=lists), to)


def test_every_clip_of_the_fixture_is_its_phrase(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    every = recogniser(acoustic, alphabet, *{each.text for each in heard})
    for each in heard:
        assert every.recognise(each.pcm).text == each.text


def test_a_phrase_outside_of_the_set_gives_nothing(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    for each in heard:
        others = recogniser(acoustic, alphabet, *({other.text for other in heard} - {each.text}))
        decision = others.recognise(each.pcm, alternatives=3)
        assert decision.text == ""
        assert decision.accepted is None
        assert each.text not in [candidate.text for candidate in decision.candidates]


def test_a_score_below_the_threshold_is_rejected_and_still_shown(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    decision = recogniser(acoustic, alphabet, heard[0].text, to=STRICT).recognise(heard[0].pcm)
    assert decision.text == ""
    assert [candidate.text for candidate in decision.candidates] == [heard[0].text]


def test_a_phrase_among_much_other_speech_is_rejected(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    said = heard[0]
    among = np.concatenate([said.pcm, *(other.pcm for other in heard[1:4])])
    frames = acoustic.log_probabilities(said.pcm)
    alone = recogniser(acoustic, alphabet, said.text, to=TIMED).decide(frames, said.pcm)
    to = TIMED.model_copy(update={"threshold": 1.5 * alone.candidates[0].score})
    strict = recogniser(acoustic, alphabet, said.text, to=to)
    assert strict.decide(frames, said.pcm).text == said.text
    rejected = strict.decide(frames, among)
    assert (rejected.text, rejected.candidates[0].text) == ("", said.text)
    assert rejected.candidates[0].confidence < alone.candidates[0].confidence


def test_a_version_from_before_decides_by_the_log_probability_alone(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    said, before = heard[0], recogniser(acoustic, alphabet, heard[0].text)
    frames = acoustic.log_probabilities(said.pcm)
    assert before.decide(frames, said.pcm) == before.decide(frames, np.tile(said.pcm, 3))


def test_noise_and_silence_give_nothing(acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]) -> None:
    every = recogniser(acoustic, alphabet, *{each.text for each in heard})
    noise = np.random.default_rng(0).integers(-3000, 3000, 16_000).astype(np.int16)
    for pcm in (noise, np.zeros(16_000, np.int16), np.zeros(1, np.int16)):
        assert every.recognise(pcm).text == ""


def test_an_answer_has_its_words_with_times_its_intent_and_its_slots(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    clip = next(each for each in heard if each.text == "espejo llama a mi hijo")
    intents, lists = {"CallPerson": ["espejo llama a mi {quien}"]}, {"quien": ["hija", "hijo", "nuera"]}
    grammar = compile_grammar(["ok espejo"], alphabet, intents=intents, lists=lists)
    decision = Recogniser(acoustic, grammar, CALIBRATION).recognise(clip.pcm, alternatives=3)
    answer = decision.accepted
    assert answer is not None
    assert (answer.intent, answer.slots) == ("CallPerson", {"quien": "hijo"})
    others = {candidate.text: candidate.intent for candidate in decision.candidates}
    assert others["espejo llama a mi hija"] == "CallPerson"
    assert [word.text for word in answer.words] == ["espejo", "llama", "a", "mi", "hijo"]
    times = [time for word in answer.words for time in (word.start_seconds, word.end_seconds)]
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] <= len(clip.pcm) / 16_000 + 0.04
    assert all(0 <= word.confidence <= 1 for word in answer.words)


def test_a_phrase_that_was_said_is_surer_than_its_alternatives(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    every = recogniser(acoustic, alphabet, *{each.text for each in heard})
    for each in heard:
        first, *others = every.recognise(each.pcm, alternatives=3).candidates
        assert first.confidence > 0.9
        assert all(other.confidence < first.confidence for other in others)


def test_a_grammar_for_another_number_of_classes_is_refused(acoustic: AcousticModel) -> None:
    with pytest.raises(GrammarFileError, match="needs a model with 3 classes, and this one has 17"):
        Recogniser(acoustic, compile_grammar(["a"], ("a", "b")), CALIBRATION)


def test_threads_that_share_a_recogniser_get_the_same_answers(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    shared = recogniser(acoustic, alphabet, *{each.text for each in heard}, "espejo llama a mi {quien}")
    alone = [shared.recognise(each.pcm, alternatives=3) for each in heard]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda each: shared.recognise(each.pcm, alternatives=3), heard * 4))
    assert together == alone * 4
