from hypothesis import given
from hypothesis import strategies as st
from speechmodel_training.schedule import Segment, batches_left, in_order_of_length

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=60)
SIZES = st.integers(1, 20)


def fresh(size: int) -> list[Segment]:
    return [Segment(batch_size=size, batches_done=0)]


@given(lengths=LENGTHS, size=SIZES, seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_an_epoch_sees_every_clip_once(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    batches = batches_left(len(lengths), lambda _: lengths, fresh(size), seed=seed, epoch=epoch)
    assert sorted(clip for batch in batches for clip in batch) == list(range(len(lengths)))


@given(lengths=LENGTHS, size=SIZES)
def test_batches_are_full_up_to_one_clip_and_no_larger_than_asked(lengths: list[int], size: int) -> None:
    sizes = [len(batch) for batch in batches_left(len(lengths), lambda _: lengths, fresh(size), seed=0, epoch=0)]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-len(lengths) // size)


@given(lengths=LENGTHS, size=SIZES, done=st.integers(0, 30))
def test_a_resumed_epoch_goes_on_with_the_same_batches(lengths: list[int], size: int, done: int) -> None:
    whole = batches_left(len(lengths), lambda _: lengths, fresh(size), seed=3, epoch=5)
    left = batches_left(len(lengths), lambda _: lengths, [Segment(batch_size=size, batches_done=done)], seed=3, epoch=5)
    assert left == whole[done:]


@given(lengths=LENGTHS, sizes=st.lists(st.tuples(SIZES, st.integers(0, 5)), min_size=1, max_size=4))
def test_clips_are_seen_once_however_often_the_batch_size_changes(
    lengths: list[int], sizes: list[tuple[int, int]]
) -> None:
    seen: list[int] = []
    segments: list[Segment] = []
    for size, steps in [*sizes, (7, 100)]:
        left = batches_left(
            len(lengths), lambda _: lengths, [*segments, Segment(batch_size=size, batches_done=0)], seed=1, epoch=1
        )
        done = left[:steps]
        segments.append(Segment(batch_size=size, batches_done=len(done)))
        seen += [clip for batch in done for clip in batch]
    assert sorted(seen) == list(range(len(lengths)))


@given(lengths=st.lists(LENGTHS, min_size=2, max_size=2), steps=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_clips_are_seen_once_however_often_their_lengths_change(lengths: list[list[int]], steps: list[int]) -> None:
    def of_segment(segment: Segment) -> list[int]:
        return lengths[segment.max_epochs or 0]

    clips = min(map(len, lengths))
    seen: list[int] = []
    segments: list[Segment] = []
    for number, most in enumerate([*steps, 100]):
        segment = Segment(batch_size=4, batches_done=0, max_epochs=number % 2)
        done = batches_left(clips, of_segment, [*segments, segment], seed=1, epoch=1)[:most]
        segments.append(segment.model_copy(update={"batches_done": len(done)}))
        seen += [clip for batch in done for clip in batch]
    assert sorted(seen) == list(range(clips))


def test_epochs_and_seeds_differ_in_order_and_company() -> None:
    lengths = [50 + clip for clip in range(40)]
    orders = {
        tuple(batches_left(len(lengths), lambda _: lengths, fresh(4), seed=seed, epoch=epoch))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_the_order_is_the_same_in_every_version_of_python() -> None:
    batches = batches_left(6, lambda _: [10, 20, 30, 40, 50, 60], fresh(2), seed=4568, epoch=0)
    assert batches == PINNED


def test_clips_of_about_the_same_length_share_a_batch() -> None:
    lengths = [10 * (clip + 1) for clip in range(100)]
    for batch in batches_left(len(lengths), lambda _: lengths, fresh(5), seed=0, epoch=0):
        frames = [lengths[clip] for clip in batch]
        assert max(frames) - min(frames) <= 200


def test_measuring_batches_go_by_length() -> None:
    assert in_order_of_length([30, 10, 20], 2) == [(1,), (2, 0)]


PINNED = [(0, 1), (4, 5), (2, 3)]
