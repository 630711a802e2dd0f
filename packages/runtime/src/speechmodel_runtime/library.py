"""libdeepspeech.so 0.9.3 through ctypes: the C API with its types and its rules of ownership.

The library is in the wheel deepspeech-0.9.3-cp39 on PyPI. It needs x86-64, glibc >= 2.17 and
libstdc++, and any version of Python. ctypes releases the GIL during every call. Strings are
returned as `void *`: as `char *`, ctypes would copy them and lose the pointer that DS_FreeString
needs.
"""

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from speechmodel_runtime.errors import LibraryMissing, LibraryUnusable

VARIABLE = "SPEECHMODEL_LIBDEEPSPEECH"
"""Environment variable with the path of the library, if it is not in the default place."""
SHA256 = "2c54da65e8eb87c45afd1db34a112f40b2db7ca29352e057f65134ddbbde27a3"
"""sha256 of libdeepspeech.so 0.9.3 in the wheel."""
VERSION_SERIES = "0.9."


class TokenMetadata(ctypes.Structure):
    """One label of a transcript."""

    _fields_ = [("text", ctypes.c_char_p), ("timestep", ctypes.c_uint), ("start_time", ctypes.c_float)]


class CandidateTranscript(ctypes.Structure):
    """A candidate transcript of the audio."""

    _fields_ = [
        ("tokens", ctypes.POINTER(TokenMetadata)),
        ("num_tokens", ctypes.c_uint),
        ("confidence", ctypes.c_double),
    ]


class Metadata(ctypes.Structure):
    """The candidates, best first. DS_FreeMetadata frees it."""

    _fields_ = [("transcripts", ctypes.POINTER(CandidateTranscript)), ("num_transcripts", ctypes.c_uint)]


_HANDLE, _TEXT, _METADATA = ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(Metadata)
_SAMPLES = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "DS_CreateModel": (ctypes.c_int, [_TEXT, ctypes.POINTER(_HANDLE)]),
    "DS_FreeModel": (None, [_HANDLE]),
    "DS_SetModelBeamWidth": (ctypes.c_int, [_HANDLE, ctypes.c_uint]),
    "DS_EnableExternalScorer": (ctypes.c_int, [_HANDLE, _TEXT]),
    "DS_SetScorerAlphaBeta": (ctypes.c_int, [_HANDLE, ctypes.c_float, ctypes.c_float]),
    "DS_AddHotWord": (ctypes.c_int, [_HANDLE, _TEXT, ctypes.c_float]),
    "DS_EraseHotWord": (ctypes.c_int, [_HANDLE, _TEXT]),
    "DS_SpeechToTextWithMetadata": (_METADATA, [_HANDLE, _SAMPLES, ctypes.c_uint, ctypes.c_uint]),
    "DS_CreateStream": (ctypes.c_int, [_HANDLE, ctypes.POINTER(_HANDLE)]),
    "DS_FreeStream": (None, [_HANDLE]),
    "DS_FeedAudioContent": (None, [_HANDLE, _SAMPLES, ctypes.c_uint]),
    "DS_IntermediateDecodeWithMetadata": (_METADATA, [_HANDLE, ctypes.c_uint]),
    "DS_FinishStreamWithMetadata": (_METADATA, [_HANDLE, ctypes.c_uint]),
    "DS_FreeMetadata": (None, [_METADATA]),
    "DS_FreeString": (None, [_HANDLE]),
    "DS_Version": (_HANDLE, []),
    "DS_ErrorCodeToErrorMessage": (_HANDLE, [ctypes.c_int]),
}


@dataclass(frozen=True)
class Library:
    """The loaded library. `calls` has the C functions as attributes, typed as in the C header."""

    calls: ctypes.CDLL
    path: Path

    def text(self, pointer: int | None) -> str:
        """Return the string at `pointer`, which is freed."""
        if not pointer:
            return ""
        try:
            return ctypes.string_at(pointer).decode(errors="replace")
        finally:
            self.calls.DS_FreeString(pointer)

    def explain(self, code: int) -> str:
        """Return the runtime's sentence for one of its error codes."""
        return f"{self.text(self.calls.DS_ErrorCodeToErrorMessage(code))} (code {code:#06x})"

    @property
    def version(self) -> str:
        """Version of the library, such as `0.9.3`."""
        return self.text(self.calls.DS_Version())


def load_library() -> Library:
    """Return the library, loaded once per process from $SPEECHMODEL_LIBDEEPSPEECH or
    <sys.prefix>/lib/libdeepspeech.so.

    Raises LibraryMissing or LibraryUnusable.
    """
    return _load(Path(os.environ.get(VARIABLE) or Path(sys.prefix, "lib", "libdeepspeech.so")))


@cache
def _load(path: Path) -> Library:
    if not path.is_file():
        raise LibraryMissing(
            f"{path}: the file does not exist; take deepspeech/lib/libdeepspeech.so (sha256 {SHA256}) out of the wheel "
            f"deepspeech-0.9.3-cp39-cp39-manylinux1_x86_64.whl and put it there, or give another path in {VARIABLE}"
        )
    try:
        calls = ctypes.CDLL(os.fspath(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(calls, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        needs = "it needs x86-64 Linux with glibc and libstdc++"
        raise LibraryUnusable(f"{path}: cannot be used here ({error}); {needs}") from error
    library = Library(calls, path)
    if not library.version.startswith(VERSION_SERIES):
        raise LibraryUnusable(f"{path}: is version {library.version}, but {VERSION_SERIES}x is needed; put 0.9.3 there")
    return library
