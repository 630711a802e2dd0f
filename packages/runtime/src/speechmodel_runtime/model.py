"""A loaded model: audio in, transcripts out. Safe for any number of threads.

Shortest use:

    with Model("output_graph.pbmm") as model:
        print(model.transcribe(load("clip.wav")).text)

Calls that would crash the runtime are rejected before they reach it: a beam width of 0, an alphabet
larger than the output layer, a model or stream used after it was freed. So is audio shorter than
one window, for which the runtime would invent words. A model file that is cut while it is mapped
still kills the process (SIGBUS): replace model files by rename only, which keeps the old mapping
whole.
"""

import ctypes
import os
import threading
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from os import PathLike, fspath
from types import TracebackType
from typing import Any, Self

import numpy as np

from speechmodel_runtime.audio import Pcm
from speechmodel_runtime.errors import (
    AudioTooShort,
    DecodingFailed,
    ModelClosed,
    ModelIncompatible,
    ModelUnreadable,
    ScorerIncompatible,
    ScorerUnreadable,
    StreamFinished,
)
from speechmodel_runtime.graph import GraphInfo, read_graph
from speechmodel_runtime.library import Library, load_library
from speechmodel_runtime.scorer import Scorer, ScorerWords
from speechmodel_runtime.transcript import Transcript, take_transcript

WIDEST_BEAM = 10_000
"""Largest spec.decoding.beamWidth, far beyond what improves a transcript."""
HOT_BOOST = 3.0
"""Natural log probability by which a hot word of a stream is likelier than the language model says."""
_INCOMPATIBLE = range(0x2000, 0x3000)
"""Error codes of the runtime for a graph that it cannot run."""


class Model:
    """A DeepSpeech 0.9.3 model: `.pbmm`, which loads in milliseconds and shares its pages among
    processes, or `.pb`.
    """

    def __init__(
        self, path: str | PathLike[str], *, beam_width: int | None = None, scorer: Scorer | None = None
    ) -> None:
        """Check and load the model at `path`. `beam_width` is the graph's own default unless given.

        Raises ValueError for an impossible beam width, LibraryError, ModelError or ScorerError.
        """
        self.path = fspath(path)
        self.info: GraphInfo = read_graph(path)
        self.beam_width = self.info.beam_width if beam_width is None else beam_width
        if not 1 <= self.beam_width <= WIDEST_BEAM:
            raise ValueError(f"{self.path}: beam width {self.beam_width} is not from 1 to {WIDEST_BEAM}")
        self._library = load_library()
        self._users = 0
        self._closed = False
        self._lock, self._starting = threading.Lock(), threading.Lock()
        self._words: ScorerWords | None = None
        self._hot_words: Set[str] = frozenset()
        self._handle = self._load()
        if scorer is not None:
            self._enable(scorer)

    @property
    def has_scorer(self) -> bool:
        """True if the model decodes with a scorer."""
        return self._words is not None

    def transcribe(self, pcm: Pcm, *, alternatives: int = 1, name: str = "audio") -> Transcript:
        """Return the transcript of `pcm`, int16 `[samples]` of one channel at `info.sample_rate`.

        With `alternatives` > 1 the result has up to that many candidates: the best one, and the
        others in its `alternatives`. Errors name the audio `name`. Raises AudioTooShort,
        DecodingFailed, ModelClosed.
        """
        _check_alternatives(alternatives)
        samples = _samples(pcm)
        self.require_window(len(samples), name)
        speech_to_text = self._library.calls.DS_SpeechToTextWithMetadata
        with self._in_use() as handle:
            metadata = speech_to_text(handle, samples.ctypes.data, len(samples), alternatives)
        return take_transcript(self._library, metadata)

    def require_window(self, samples: int, name: str) -> None:
        """Raise AudioTooShort unless `samples` fill at least one window."""
        require_window(samples, name, window=self.info.window, sample_rate=self.info.sample_rate)

    def stream(self, *, hot_words: Sequence[str] = ()) -> "Stream":
        """Return a new stream, in which each of `hot_words` that the scorer knows is HOT_BOOST likelier than
        the scorer says. Without a scorer they have no effect.

        Raises DecodingFailed, ModelClosed.
        """
        known = [] if self._words is None else [word for word in dict.fromkeys(hot_words) if word in self._words]
        added = [word for word in known if word not in self._hot_words]
        with self._starting:  # a stream keeps a copy of the words that the model has when it begins
            try:
                for word in added:
                    self._library.calls.DS_AddHotWord(self._handle, word.encode(), HOT_BOOST)
                return Stream(self)
            finally:
                for word in added:
                    self._library.calls.DS_EraseHotWord(self._handle, word.encode())

    def weigh_scorer(self, alpha: float, beta: float) -> None:
        """Change the weights of the scorer. No other thread may use the model meanwhile.

        Raises DecodingFailed for a model without a scorer, ModelClosed.
        """
        with self._in_use() as handle:
            code = self._library.calls.DS_SetScorerAlphaBeta(handle, alpha, beta)
        if code:
            raise DecodingFailed(f"{self.path}: the scorer has no weights: {self._library.explain(code)}", code)

    def close(self) -> None:
        """Reject new calls.

        The memory is freed when the last running call and the last open stream are done.
        """
        with self._lock:
            self._closed = True
        self._free_if_unused()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()

    def _load(self) -> ctypes.c_void_p | None:
        handle = ctypes.c_void_p()
        code = self._library.calls.DS_CreateModel(os.fsencode(self.path), ctypes.byref(handle))
        if code:
            kind = ModelIncompatible if code in _INCOMPATIBLE else ModelUnreadable
            raise kind(self.path, f"is rejected by the runtime: {self._library.explain(code)}; export it again")
        code = self._library.calls.DS_SetModelBeamWidth(handle, self.beam_width)
        if code:
            self._library.calls.DS_FreeModel(handle)
            problem = f"does not accept beam width {self.beam_width}: {self._library.explain(code)}"
            raise ModelIncompatible(self.path, problem)
        return handle

    def _enable(self, scorer: Scorer) -> None:
        path = fspath(scorer.path)
        words = ScorerWords(scorer.path, self.info.labels)
        self._words, self._hot_words = words, scorer.hot_words.keys()
        if unknown := [word for word in scorer.hot_words if word not in words]:
            raise ScorerIncompatible(
                path, f"does not contain the hot word {unknown[0]!r}; remove it from the hot words"
            )
        with self._in_use() as handle:
            code = self._library.calls.DS_EnableExternalScorer(handle, os.fsencode(path))
            if code:
                problem = f"is rejected by the runtime: {self._library.explain(code)}"
                raise ScorerUnreadable(path, f"{problem}; build its language model with build_binary -v")
        self.weigh_scorer(scorer.alpha, scorer.beta)
        for word, boost in scorer.hot_words.items():
            with self._in_use() as handle:
                code = self._library.calls.DS_AddHotWord(handle, word.encode(), boost)
            if code:
                raise ScorerIncompatible(path, f"takes no hot word {word!r}: {self._library.explain(code)}")

    @contextmanager
    def _in_use(self) -> Iterator[ctypes.c_void_p]:
        handle = self._hold()
        try:
            yield handle
        finally:
            self._release()

    def _hold(self) -> ctypes.c_void_p:
        with self._lock:
            if self._closed or self._handle is None:
                raise ModelClosed(self.path, "was closed; open it again")
            self._users += 1
            return self._handle

    def _release(self) -> None:
        with self._lock:
            self._users -= 1
        self._free_if_unused()

    def _free_if_unused(self) -> None:
        with self._lock:
            if self._users or not self._closed:
                return
            handle, self._handle = self._handle, None
        if handle is not None:
            self._library.calls.DS_FreeModel(handle)


class Stream:
    """Transcribes audio in pieces.

    Calls from several threads run one after another. An open stream keeps its model loaded.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._library: Library = model._library
        self._lock = threading.Lock()
        self._handle: ctypes.c_void_p | None = None
        self._fed = 0
        handle = ctypes.c_void_p()
        code = self._library.calls.DS_CreateStream(model._hold(), ctypes.byref(handle))
        if code:
            model._release()
            raise DecodingFailed(f"{model.path}: no stream: {self._library.explain(code)}", code)
        self._handle = handle

    def feed(self, pcm: Pcm) -> None:
        """Take the next samples, int16 `[samples]` of any length. Raises StreamFinished."""
        samples = _samples(pcm)
        with self._lock:
            self._library.calls.DS_FeedAudioContent(self._open(), samples.ctypes.data, len(samples))
            self._fed += len(samples)

    def intermediate(self) -> Transcript:
        """Return the transcript so far. It sorts all beams and changes every 16 frames (0.32 s) at
        most, so call it sparingly.

        Raises StreamFinished, DecodingFailed.
        """
        with self._lock:
            metadata = self._library.calls.DS_IntermediateDecodeWithMetadata(self._open(), 1)
        return take_transcript(self._library, metadata)

    def finish(self, *, alternatives: int = 1, name: str = "audio") -> Transcript:
        """Return the transcript of all audio that was fed, and free the stream.

        Raises AudioTooShort (which also frees the stream), StreamFinished, DecodingFailed.
        """
        _check_alternatives(alternatives)
        with self._lock:
            self._open()
            try:
                self._model.require_window(self._fed, name)
            except AudioTooShort:
                self._drop()
                raise
            handle, self._handle = self._handle, None
            try:
                metadata = self._library.calls.DS_FinishStreamWithMetadata(handle, alternatives)
            finally:
                self._model._release()
        return take_transcript(self._library, metadata)

    def close(self) -> None:
        """Free the stream. A finished stream stays as it is."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()

    def _open(self) -> ctypes.c_void_p:
        if self._handle is None:
            raise StreamFinished(self._model.path, "this stream is finished; make a new one")
        return self._handle

    def _drop(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._library.calls.DS_FreeStream(handle)
            self._model._release()


def _samples(pcm: Pcm) -> np.ndarray[Any, np.dtype[np.int16]]:
    if pcm.dtype != np.int16 or pcm.ndim != 1:
        raise ValueError(f"audio must be int16 [samples], not {pcm.dtype} {list(pcm.shape)}")
    return np.ascontiguousarray(pcm)


def require_window(samples: int, name: str, *, window: int, sample_rate: int) -> None:
    """Raise AudioTooShort unless `samples` fill at least one window of so many samples."""
    if samples < window:
        problem = f"is too short: {samples} samples, and the model needs at least {window}"
        raise AudioTooShort(name, f"{problem} ({window * 1000 // sample_rate} ms)")


def _check_alternatives(alternatives: int) -> None:
    if not 1 <= alternatives <= WIDEST_BEAM:
        raise ValueError(f"alternatives must be from 1 to {WIDEST_BEAM}, not {alternatives}")
