"""Runs of a network that streams share. The network here doubles its inputs and counts the runs in its states."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_decoding.shared_runs import (
    ALONE_BLOCK,
    BLOCK,
    ENOUGH_BESIDE,
    FIRST_BLOCK,
    MOST_STREAMS,
    Floats,
    SharedRuns,
    _Stream,
)
from support.waiting import until

ZEROS = np.zeros((1, 1, 1), np.float32)


@dataclass
class Network:
    """Holds each run until `go_on` is set."""

    at_once: int = 1
    shapes: list[tuple[int, int]] = field(default_factory=list)
    """Frames and streams of each run, in the order of their begin."""
    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.runs = SharedRuns(self.run, self.at_once)

    def run(self, patches: Floats, h: Floats, c: Floats) -> Sequence[Floats]:
        self.shapes.append((patches.shape[0], patches.shape[1]))
        self.go_on.wait()
        return patches * 2, h + 1, c + 1

    def stream(self, frames: int, number: int = 1) -> list[float]:
        """Return the outputs of a stream whose patches are `number`."""
        patches = np.full((frames, 2), number, np.float32)
        return [float(value) for block in self.runs.outputs(patches, ZEROS, ZEROS) for value in block[:, 0]]

    def until_begun(self, runs: int) -> None:
        until(lambda: len(self.shapes) == runs, f"{runs} runs have begun", every=0.01)

    def until_waiting(self, streams: int) -> None:
        until(lambda: len(self.runs._waiting) == streams, f"{streams} streams wait", every=0.01)


Begin = Callable[..., Future[list[float]]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begin a stream in a thread of its own."""
    networks = []

    def begun(network: Network, frames: int, number: int = 1) -> Future[list[float]]:
        networks.append(network)
        return pool.submit(network.stream, frames, number)

    with ThreadPoolExecutor(MOST_STREAMS + 3) as pool:
        yield begun
        for network in networks:
            network.go_on.set()


def test_streams_that_wait_go_together_into_the_next_run(begin: Begin) -> None:
    network = Network()
    first = begin(network, 2, 100)
    network.until_begun(1)
    others = [begin(network, number % 3 + 1, number) for number in range(MOST_STREAMS + 2)]
    network.until_waiting(MOST_STREAMS + 2)
    network.go_on.set()
    assert first.result() == [200, 200]
    for number, each in enumerate(others):
        assert each.result() == [2 * number] * (number % 3 + 1)
    assert [streams for _, streams in network.shapes] == [1, MOST_STREAMS, 2]


def test_a_stream_alone_begins_with_a_short_run_which_those_that_begin_with_it_join_soon(begin: Begin) -> None:
    network = Network()
    first = begin(network, BLOCK + FIRST_BLOCK)
    network.until_begun(1)
    second = begin(network, BLOCK + 1, 3)
    network.until_waiting(1)
    network.go_on.set()
    assert (first.result(), second.result()) == ([2] * (BLOCK + FIRST_BLOCK), [6] * (BLOCK + 1))
    assert network.shapes == [(FIRST_BLOCK, 1), (BLOCK, 2), (1, 1)]


def test_a_stream_that_stays_alone_has_longer_runs_after_the_first(begin: Begin) -> None:
    network = Network()
    network.go_on.set()
    assert begin(network, FIRST_BLOCK + ALONE_BLOCK + 1).result() == [2] * (FIRST_BLOCK + ALONE_BLOCK + 1)
    assert network.shapes == [(FIRST_BLOCK, 1), (ALONE_BLOCK, 1), (1, 1)]


def test_streams_that_shared_a_run_share_the_next_one_before_their_outputs_are_read() -> None:
    network = Network()
    network.go_on.set()
    patches = np.zeros((FIRST_BLOCK + BLOCK, 2), np.float32)
    first, second = (network.runs.outputs(patches, ZEROS, ZEROS) for _ in range(2))
    next(first)
    assert len(network.runs._waiting) == 1, "its next frames wait already"
    next(second)
    assert network.shapes == [(FIRST_BLOCK, 1), (BLOCK, 2)]
    assert len(next(first)) == BLOCK
    assert network.shapes == [(FIRST_BLOCK, 1), (BLOCK, 2)], "its outputs were there"


@pytest.mark.parametrize(
    ("running", "waiting", "begins"),
    [
        pytest.param([], 1, True, id="nothing runs"),
        pytest.param([1], 1, True, id="one for each core"),
        pytest.param([3], 1, False, id="two would have one core each, four share a run for nearly the same"),
        pytest.param([3], 3, True, id="a half for each of two"),
        pytest.param([12], ENOUGH_BESIDE - 1, False, id="fewer than are always enough"),
        pytest.param([12], ENOUGH_BESIDE, True, id="always enough"),
        pytest.param([1, 1], 9, False, id="as many runs as allowed"),
    ],
)
def test_a_run_begins_beside_another_one_with_a_fair_share_of_the_streams(
    running: list[int], waiting: int, begins: bool
) -> None:
    runs = Network(at_once=2).runs
    runs._running += running
    runs._waiting += [_Stream(ZEROS[0], ZEROS, ZEROS) for _ in range(waiting)]
    assert runs._may_run() == begins


def test_two_streams_run_beside_each_other(begin: Begin) -> None:
    network = Network(at_once=2)
    began = [begin(network, 1)]
    network.until_begun(1)
    began.append(begin(network, 1))
    network.until_begun(2)
    network.go_on.set()
    assert [each.result() for each in began] == [[2], [2]]
    assert network.shapes == [(1, 1), (1, 1)]


def test_no_run_takes_more_than_its_share_of_many_streams(begin: Begin) -> None:
    network = Network(at_once=2)
    began = []
    for runs in (1, 2):
        began.append(begin(network, 1))
        network.until_begun(runs)
    began += [begin(network, 1) for _ in range(8)]
    network.until_waiting(8)
    network.go_on.set()
    assert [each.result() for each in began] == [[2]] * 10
    assert max(streams for _, streams in network.shapes) <= 5


def test_no_more_runs_take_place_at_once_than_allowed(begin: Begin) -> None:
    network = Network(at_once=1)
    began = [begin(network, 1)]
    network.until_begun(1)
    began += [begin(network, 1) for _ in range(ENOUGH_BESIDE)]
    network.until_waiting(ENOUGH_BESIDE)
    assert len(network.shapes) == 1
    network.go_on.set()
    assert [each.result() for each in began] == [[2]] * (1 + ENOUGH_BESIDE)


def test_a_stream_that_nobody_reads_any_more_is_run_no_more(begin: Begin) -> None:
    network = Network()
    network.go_on.set()
    in_a_pause, in_a_run = (network.runs.outputs(np.zeros((3 * BLOCK, 2), np.float32), ZEROS, ZEROS) for _ in range(2))
    next(in_a_pause)
    in_a_pause.close()
    next(in_a_run)
    network.go_on.clear()
    other = begin(network, 1)
    network.until_begun(3)
    in_a_run.close()
    network.go_on.set()
    assert other.result() == [2]
    assert network.stream(1) == [2]
    assert [streams for _, streams in network.shapes] == [1, 1, 2, 1]


def test_an_error_of_a_run_reaches_every_caller_and_the_next_run_takes_place(begin: Begin) -> None:
    fails, network = True, Network()

    def run(patches: Floats, h: Floats, c: Floats) -> Sequence[Floats]:
        done = network.run(patches, h, c)
        if fails:
            raise AcousticModelError("broken")
        return done

    network.runs.run = run
    began = [begin(network, 1)]
    network.until_begun(1)
    began += [begin(network, 1), begin(network, 1)]
    network.until_waiting(2)
    network.go_on.set()
    for each in began:
        with pytest.raises(AcousticModelError, match="broken"):
            each.result()
    fails = False
    assert network.stream(1) == [2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, IndexError])
def test_a_run_that_ends_unusually_loses_no_frames_of_its_other_streams_silently(error: type[BaseException]) -> None:
    """Ctrl-C ends a run, or the network returns fewer streams than it was given."""
    broken = False

    def run(patches: Floats, h: Floats, c: Floats) -> Sequence[Floats]:
        if broken and error is KeyboardInterrupt:
            raise KeyboardInterrupt
        return patches[:, : 0 if broken else None], h, c

    runs, patches = SharedRuns(run, 1), np.zeros((FIRST_BLOCK + 2 * BLOCK, 2), np.float32)
    other, interrupted = (runs.outputs(patches, ZEROS, ZEROS) for _ in range(2))
    next(other)
    broken = True
    with pytest.raises(error):
        next(interrupted)
    broken = False
    with pytest.raises(error):
        next(other)


def test_at_least_one_run_must_be_allowed() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Network(at_once=0)
