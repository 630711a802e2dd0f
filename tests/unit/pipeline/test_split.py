"""The part of each clip: whole speakers in dev and test where they are known, and single clips otherwise."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.dataset_spec import Split, SplitBy
from speechmodel_pipeline.prepare.split import Candidate, divide
from speechmodel_stagekit.dataset import Part

HELD_OUT = (Part.DEV, Part.TEST)


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def free_speech(count: int) -> list[Candidate]:
    """Return clips of an unknown speaker with a sentence of its own each."""
    return [Candidate(digest(number), f"sentence {number}", None) for number in range(count)]


def commands(speakers: int, phrases: int, takes: int = 2) -> list[Candidate]:
    """Return clips of which every speaker says every phrase."""
    return [
        Candidate(digest((speaker, phrase, take)), f"phrase {phrase}", f"speaker {speaker}")
        for speaker in range(speakers)
        for phrase in range(phrases)
        for take in range(takes)
    ]


class CountedClips(list[Candidate]):
    """Clips that count how often all of them are read."""

    reads = 0

    def __iter__(self) -> Iterator[Candidate]:
        self.reads += 1
        return super().__iter__()


def voices(clips: Iterable[Candidate], parts: dict[str, Part]) -> dict[Part, set[str | None]]:
    found: dict[Part, set[str | None]] = {part: set() for part in Part}
    for clip in clips:
        found[parts[clip.digest]].add(clip.speaker)
    return found


class TestByClip:
    def test_parts_have_about_the_share_that_was_asked_for(self) -> None:
        counted = Counter(divide(free_speech(2000), Split(dev_percent=10, test_percent=20)).values())
        assert abs(counted[Part.DEV] - 200) < 40
        assert abs(counted[Part.TEST] - 400) < 60

    def test_a_clip_never_moves_when_others_are_added(self) -> None:
        few, many = divide(free_speech(100), Split()), divide(free_speech(2000), Split())
        assert all(many[digest] == part for digest, part in few.items())

    def test_parts_are_the_same_in_every_release(self) -> None:
        parts = divide(free_speech(50), Split(dev_percent=25, test_percent=25))
        assert "".join(part[2] for part in parts.values()) == "aaaavsvassaaavaavssaaaavvvvsssasasaasvasasaaasaavv"
        parts = divide(free_speech(12), Split(dev_percent=25, test_percent=25))
        assert "".join(part[2] for part in parts.values()) == "aaaavsvassva"

    @pytest.mark.parametrize(
        ("clips", "held_out"), [(1, 0), (4, 0), (5, 1), (6, 1), (12, 1), (25, 3), (49, 5)], ids=str
    )
    def test_a_few_clips_are_divided_by_their_number(self, clips: int, held_out: int) -> None:
        for seed in range(20):
            parts = divide(free_speech(clips), Split(seed=seed))
            counted = Counter(parts.values())
            assert (counted[Part.TEST], counted[Part.DEV]) == (held_out, held_out)
            fewer = divide(free_speech(clips), Split(seed=seed, dev_percent=0))
            assert {digest for digest, part in fewer.items() if part is Part.TEST} == {
                digest for digest, part in parts.items() if part is Part.TEST
            }

    def test_a_few_clips_of_one_person_leave_each_phrase_a_training_clip(self) -> None:
        for seed in range(20):
            clips = commands(1, 5)
            parts = divide(clips, Split(seed=seed, test_percent=20, dev_percent=20))
            assert Counter(parts.values()) == {Part.TRAIN: 6, Part.TEST: 2, Part.DEV: 2}
            assert len({clip.transcript for clip in clips if parts[clip.digest] is Part.TRAIN}) == 5

    def test_another_seed_gives_another_division(self) -> None:
        assert divide(free_speech(2000), Split()) != divide(free_speech(2000), Split(seed=1))

    @given(st.integers(1, 30), st.integers(0, 45), st.integers(0, 45))
    def test_there_is_always_something_to_train_on(self, clips: int, dev: int, test: int) -> None:
        assert Part.TRAIN in divide(free_speech(clips), Split(dev_percent=dev, test_percent=test)).values()

    @given(st.integers(1, 6), st.integers(1, 8), st.integers(2, 3))
    def test_every_phrase_keeps_a_training_clip(self, speakers: int, phrases: int, takes: int) -> None:
        clips = commands(speakers, phrases, takes)
        parts = divide(clips, Split(by=SplitBy.CLIP, dev_percent=45, test_percent=45))
        trained = {clip.transcript for clip in clips if parts[clip.digest] is Part.TRAIN}
        assert trained == {clip.transcript for clip in clips}

    def test_fewer_than_three_speakers_are_divided_by_clip(self) -> None:
        clips = commands(2, 30)
        assert divide(clips, Split()) == divide(clips, Split(by=SplitBy.CLIP))


class TestBySpeaker:
    @given(st.integers(3, 12), st.integers(1, 6), st.integers(0, 5), st.integers(5, 40), st.integers(5, 40))
    def test_held_out_speakers_are_never_trained(
        self, speakers: int, phrases: int, seed: int, dev: int, test: int
    ) -> None:
        clips = commands(speakers, phrases)
        parts = divide(clips, Split(dev_percent=dev, test_percent=test, seed=seed))
        found = voices(clips, parts)
        assert found[Part.TEST]
        assert found[Part.DEV]
        assert found[Part.TRAIN]
        assert not found[Part.TEST] & found[Part.DEV]
        assert not (found[Part.TEST] | found[Part.DEV]) & found[Part.TRAIN]
        assert found[Part.SEEN] <= found[Part.TRAIN]
        trained = {clip.transcript for clip in clips if parts[clip.digest] is Part.TRAIN}
        assert trained == {clip.transcript for clip in clips}

    def test_parts_have_about_the_share_that_was_asked_for(self) -> None:
        clips = commands(50, 10)
        counted = Counter(divide(clips, Split(dev_percent=10, test_percent=20)).values())
        assert counted[Part.DEV] == 100
        assert counted[Part.TEST] == 200
        assert abs(counted[Part.SEEN] - 70) < 25

    def test_many_speakers_do_not_make_it_read_the_clips_more_often(self) -> None:
        few, many = CountedClips(commands(10, 4)), CountedClips(commands(200, 4))
        divide(few, Split(test_percent=40))
        divide(many, Split(test_percent=40))
        assert many.reads == few.reads

    def test_a_speaker_with_far_too_many_clips_is_passed_over(self) -> None:
        clips = commands(10, 5) + [Candidate(digest(n), f"phrase {n % 5}", "the owner") for n in range(1000)]
        for seed in range(8):
            found = voices(clips, divide(clips, Split(test_percent=5, dev_percent=5, seed=seed)))
            assert "the owner" in found[Part.TRAIN]

    def test_the_only_speaker_of_a_phrase_is_trained(self) -> None:
        clips = [*commands(6, 3), *(Candidate(digest(n), "her phrase", "speaker 0") for n in range(4))]
        for seed in range(8):
            assert "speaker 0" in voices(clips, divide(clips, Split(seed=seed)))[Part.TRAIN]

    def test_speakers_with_phrases_of_their_own_are_divided_by_clip(self) -> None:
        clips = [Candidate(digest((n, take)), f"phrase {n}", f"speaker {n}") for n in range(5) for take in range(4)]
        assert divide(clips, Split()) == divide(clips, Split(by=SplitBy.CLIP))

    def test_clips_without_a_speaker_are_trained(self) -> None:
        clips = [*commands(5, 4), *(Candidate(digest(n), "phrase 1", None) for n in range(40))]
        found = voices(clips, divide(clips, Split()))
        assert [part for part in Part if None in found[part]] == [Part.TRAIN]

    def test_sentences_that_occur_once_may_be_held_out_with_their_speaker(self) -> None:
        clips = [Candidate(digest(n), f"sentence {n}", f"speaker {n % 10}") for n in range(200)]
        parts = divide(clips, Split())
        assert len(voices(clips, parts)[Part.TEST]) == 1
        assert Counter(parts.values())[Part.TEST] == 20

    @pytest.mark.parametrize("part, split", [("test", Split(test_percent=0)), ("dev", Split(dev_percent=0))])
    def test_a_part_of_no_percent_is_empty(self, part: str, split: Split) -> None:
        assert part not in divide(commands(6, 4), split).values()

    def test_no_speaker_moves_when_clips_of_others_are_added(self) -> None:
        before, after = commands(20, 5), [*commands(20, 5), Candidate(digest("new"), "phrase 1", "speaker 3")]
        old, new = divide(before, Split()), divide(after, Split())
        assert all(new[digest] is part for digest, part in old.items() if part in HELD_OUT)
