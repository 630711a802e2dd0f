"""When the words so far of somebody who speaks are decoded, and which of them are used at the end."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_decoding import Utterance, cut_at_pauses
from speechmodel_decoding.utterances import MARGIN_SECONDS
from speechmodel_inference.decoders import DecodedUtterance, DecodingOptions
from speechmodel_inference.live import Heard, LiveAudio, LiveTranscription
from speechmodel_inference.misheard import MisheardInbox
from speechmodel_inference.transcribing import Segment
from speechmodel_inference.version import ServedVersion, load_version
from speechmodel_inference.version_files import VersionFiles
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import Pcm, load
from speechmodel_runtime.errors import DecodingFailed
from support.phrase_heads import knowing_head
from support.places import FIXTURES
from support.servers import VersionFolder

HIJO = FIXTURES / "clips" / "shapes_44f683a8_2_3_000000_6_002.wav"
PIECE = SAMPLE_RATE // 20
OPTIONS = DecodingOptions()


class Decoder:
    """Hears the length of what it is given, and remembers it."""

    takes_hot_words = True

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.now = seconds, 0.0
        """The time that a decoding takes, and the clock."""
        self.decoded: list[Pcm] = []
        self.options: list[DecodingOptions] = []
        self.error: DecodingFailed | None = None

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions) -> DecodedUtterance:
        self.decoded.append(pcm)
        self.options.append(options)
        self.now += self.seconds
        if self.error is not None:
            raise self.error
        return DecodedUtterance(str(len(pcm)))

    @property
    def lengths(self) -> list[float]:
        """Seconds of each decoding."""
        return [len(pcm) / SAMPLE_RATE for pcm in self.decoded]


class Inbox:
    """Remembers the clips that it is given."""

    def __init__(self) -> None:
        self.clips: list[Pcm] = []

    def utterance(self, version: ServedVersion, pcm: Pcm, segment: Segment) -> None:
        self.clips.append(pcm)


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


def version(decoder: Decoder) -> ServedVersion:
    return cast(ServedVersion, SimpleNamespace(manifest=SimpleNamespace(speech_level=None), decoder=decoder))


def quiet(seconds: float) -> Pcm:
    return np.random.default_rng(0).normal(0, 20, round(seconds * SAMPLE_RATE)).astype(np.int16)


def phrase() -> Pcm:
    """Return speech without the silence around it."""
    pcm = load(HIJO)
    loud = np.flatnonzero(np.abs(pcm.astype(int)) > 500)
    return pcm[loud[0] : loud[-1]]


def pieces(*parts: Pcm) -> Iterator[bytes]:
    pcm = np.concatenate(parts)
    for start in range(0, len(pcm), PIECE):
        yield pcm[start : start + PIECE].tobytes()


def fed(live: LiveAudio, *parts: Pcm, partial: bool = True) -> list[Utterance]:
    """Feed audio in pieces, decode whatever is due, and return the utterances that end in it."""
    ended: list[Utterance] = []
    for piece in pieces(*parts):
        ended += live.feed(piece)
        if live.due(partial=partial):
            live.words_so_far(OPTIONS)
    return ended


@pytest.mark.parametrize("seconds, most, least", [(0.0, 0.6, 0.5), (1.2, 1.3, 1.15)])
def test_words_so_far_wait_for_as_much_new_speech_as_the_last_decoding_took(
    seconds: float, most: float, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Decoder(seconds)
    monkeypatch.setattr("speechmodel_inference.live.time", SimpleNamespace(monotonic=lambda: decoder.now))
    live = LiveAudio(version(decoder), SAMPLE_RATE)
    assert fed(live, phrase(), phrase()) == []
    steps = [after - before for before, after in pairwise(decoder.lengths)]
    assert len(steps) >= 1
    assert all(least <= step <= most for step in steps), steps


@pytest.mark.parametrize("silence", [0.7, 0.5], ids=["the pause ends it", "the audio ends it"])
def test_an_utterance_is_decoded_once_and_while_its_pause_goes_on(silence: float, decoder: Decoder) -> None:
    live = LiveTranscription(version(decoder), SAMPLE_RATE, OPTIONS)
    heard = [live.feed(piece, partial=False) for piece in pieces(phrase(), quiet(0.45))]
    assert not any(each.ended for each in heard)
    assert len(decoder.decoded) == 1
    heard = [*(live.feed(piece, partial=False) for piece in pieces(quiet(silence - 0.45))), live.finish()]
    ((segment,),) = (each.ended for each in heard if each.ended)
    (expected,) = cut_at_pauses(np.concatenate([phrase(), quiet(0.45), quiet(silence - 0.45)]))
    assert segment.text == str(len(expected.pcm))
    assert [pcm.tobytes() for pcm in decoder.decoded] == [expected.pcm.tobytes()]


def test_while_somebody_speaks_the_text_alone_is_decoded_and_all_of_it_in_the_pause(decoder: Decoder) -> None:
    live = LiveTranscription(version(decoder), SAMPLE_RATE, DecodingOptions(alternatives=3))
    for piece in pieces(phrase(), quiet(0.45)):
        live.feed(piece)
    wishes = [(options.alternatives, options.confidences) for options in decoder.options]
    assert len(wishes) >= 2
    assert wishes == [*[(1, False)] * (len(wishes) - 1), (3, True)]


@pytest.mark.parametrize("pause_seconds", [0.2, 0.25, 0.6, 2.0])
def test_a_pause_of_any_length_uses_what_was_decoded_in_it(pause_seconds: float, decoder: Decoder) -> None:
    live = LiveAudio(version(decoder), SAMPLE_RATE, pause_seconds=pause_seconds)
    (utterance,) = fed(live, phrase(), quiet(pause_seconds + 0.2))
    before = len(decoder.decoded)
    assert live.decode(utterance, OPTIONS).text == str(len(utterance.pcm))
    in_the_pause = pause_seconds > MARGIN_SECONDS + PIECE / SAMPLE_RATE
    assert len(decoder.decoded) - before == (0 if in_the_pause else 1), "a pause within the margin has no time for it"


def test_speech_after_a_decoding_in_a_pause_is_decoded_too(decoder: Decoder) -> None:
    live = LiveTranscription(version(decoder), SAMPLE_RATE, OPTIONS)
    first, second = phrase()[: SAMPLE_RATE // 2], phrase()[SAMPLE_RATE // 2 :]
    for piece in pieces(first, quiet(0.45), second):
        assert live.feed(piece, partial=False).ended == ()
    (segment,) = live.finish().ended
    whole = len(first) + len(quiet(0.45)) + len(second)
    assert segment.text == str(whole)
    assert [len(pcm) for pcm in decoder.decoded][1:] == [whole]


def test_words_with_other_options_are_decoded_again(decoder: Decoder) -> None:
    live = LiveAudio(version(decoder), SAMPLE_RATE)
    (utterance,) = fed(live, phrase(), quiet(0.7), partial=False)
    changed = replace(OPTIONS, hot_words=("hijo",))
    live.decode(utterance, changed)
    assert decoder.options == [OPTIONS, changed]


def test_the_inbox_gets_a_clip_once_and_at_the_end(decoder: Decoder) -> None:
    inbox = Inbox()
    live = LiveTranscription(version(decoder), SAMPLE_RATE, OPTIONS, cast(MisheardInbox, inbox))
    for piece in pieces(phrase(), quiet(0.45)):
        live.feed(piece)
    assert decoder.decoded
    assert inbox.clips == []
    live.finish()
    assert [clip.tobytes() for clip in inbox.clips] == [decoder.decoded[-1].tobytes()]


@pytest.mark.parametrize("persists", [True, False])
def test_an_error_in_a_pause_is_reported_at_the_end_and_only_if_it_persists(persists: bool, decoder: Decoder) -> None:
    decoder.error = DecodingFailed("no memory", 1)
    live = LiveTranscription(version(decoder), SAMPLE_RATE, OPTIONS)
    for piece in pieces(phrase(), quiet(0.5)):
        assert live.feed(piece) == Heard()
    failed = len(decoder.decoded)
    assert failed >= 1
    if persists:
        with pytest.raises(DecodingFailed):
            live.finish()
    else:
        decoder.error = None
        assert [segment.text for segment in live.finish().ended] == [str(len(decoder.decoded[-1]))]
    assert len(decoder.decoded) == failed + 1


def test_nothing_is_decoded_within_a_margin_and_once_after_it(decoder: Decoder) -> None:
    live = LiveAudio(version(decoder), SAMPLE_RATE, pause_seconds=2.0)
    spoken = phrase()[: round(1.4 * SAMPLE_RATE)]
    fed(live, spoken, quiet(1.8))
    after = [length for length in decoder.lengths if length > len(spoken) / SAMPLE_RATE]
    assert len(after) == 1, decoder.lengths
    assert live.settled


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("took", [0.0, 3.0])
def test_the_cost_of_many_short_pauses_stays_a_multiple_of_the_length(
    partial: bool, took: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Decoder(took)
    monkeypatch.setattr("speechmodel_inference.live.time", SimpleNamespace(monotonic=lambda: decoder.now))
    live = LiveAudio(version(decoder), SAMPLE_RATE)
    word = np.concatenate([phrase()[:4000], quiet(0.4)])
    assert fed(live, *[word] * 40, partial=partial) == []
    length = 40 * len(word) / SAMPLE_RATE
    assert 20 < length < 30
    assert sum(decoder.lengths) <= (14 if partial else 8) * length, "20 times, if each pause were decoded"
    assert took * (len(decoder.lengths) - 1) <= length, "the stream does not fall behind"
    beginning = [seconds for seconds in decoder.lengths if seconds < 4]
    assert len(beginning) >= (1 if took else 5), "short utterances are decoded in each pause"


def test_the_phrase_network_decodes_the_words_so_far_of_a_stream_and_its_phrase(tmp_path: Path) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "mapped.pbmm")
    folder = VersionFolder(tmp_path / "models", tmp_path / "mapped.pbmm")
    phrases = ("ok espejo", "espejo llama a mi hijo", "espejo llama a mi nuera")
    folder.decode_by_grammar(*phrases, threshold=-1, head=knowing_head())
    live = LiveTranscription(load_version(VersionFiles(folder.path)), SAMPLE_RATE, OPTIONS)
    pcm, silence = load(HIJO), np.zeros(SAMPLE_RATE, np.int16)
    heard = [live.feed(piece) for piece in pieces(pcm, silence)]
    partials = [each.partial for each in heard if each.partial is not None]
    assert len(partials) > 1
    assert set(partials) <= {"", *phrases}
    ended = [segment for each in (*heard, live.finish()) for segment in each.ended]
    assert [segment.text for segment in ended] == ["espejo llama a mi hijo"]
    assert 0 <= ended[0].start_seconds < ended[0].end_seconds <= len(pcm) / SAMPLE_RATE + 0.1
