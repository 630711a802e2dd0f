"""The errors of audio, library and model. Every message names the file and says what to do next:

SpeechRuntimeError
+-- AudioError
|   +-- AudioMissing        the file does not exist or cannot be read
|   +-- AudioUnreadable     in no format that is read, damaged, or its sample rate is out of range
|   +-- AudioEmpty          no bytes, no samples, or too few to resample
|   +-- AudioTooShort       shorter than one window of the model
|   +-- AudioTooLong        longer than the caller allows
+-- LibraryError
|   +-- LibraryMissing      libdeepspeech.so is not at its path
|   +-- LibraryUnusable     this machine cannot load it, or it is another version
+-- ModelError
|   +-- ModelMissing        the file does not exist or cannot be read
|   +-- ModelUnreadable     truncated, damaged, misnamed, or not a model
|   +-- ModelIncompatible   a whole graph that this runtime cannot run, or that would crash it
|   +-- ModelClosed         used after close()
|   +-- StreamFinished      a stream was used after finish() or close()
+-- ScorerError
|   +-- ScorerUnreadable    missing, truncated, damaged, or not a scorer
|   +-- ScorerIncompatible  made for another alphabet, or a hot word that it does not know
+-- DecodingFailed          the runtime failed on valid audio
"""


class SpeechRuntimeError(Exception):
    """The base of every error of this package."""


class AudioError(SpeechRuntimeError):
    """An error of one recording. `name` is its name as the caller gave it."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class AudioMissing(AudioError):
    """The file does not exist or cannot be read."""


class AudioUnreadable(AudioError):
    """The file is in no format that is read, it is damaged, or its sample rate is out of range."""


class AudioEmpty(AudioError):
    """The file has no bytes, or audio of no samples or too few to resample."""


class AudioTooShort(AudioError):
    """The audio is shorter than one window, for which the runtime would invent words."""


class AudioTooLong(AudioError):
    """The audio is longer than the caller allows."""


class LibraryError(SpeechRuntimeError):
    """An error of libdeepspeech.so."""


class LibraryMissing(LibraryError):
    """The library is not at its path."""


class LibraryUnusable(LibraryError):
    """The library cannot be loaded on this machine, or is not 0.9.x."""


class ModelError(SpeechRuntimeError):
    """An error of one model file. `path` is as the caller gave it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class ModelMissing(ModelError):
    """The file does not exist or cannot be read."""


class ModelUnreadable(ModelError):
    """The file is truncated, damaged, misnamed, or not a model."""


class ModelIncompatible(ModelError):
    """The graph is whole, but this runtime cannot run it or would crash."""


class ModelClosed(ModelError):
    """The model was used after close()."""


class StreamFinished(ModelError):
    """A stream was used after finish() or close()."""


class ScorerError(SpeechRuntimeError):
    """An error of one scorer file. `path` is as the caller gave it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class ScorerUnreadable(ScorerError):
    """The file is missing, truncated, damaged, or not a scorer."""


class ScorerIncompatible(ScorerError):
    """The scorer was made for another alphabet, or does not know a hot word."""


class DecodingFailed(SpeechRuntimeError):
    """The runtime gave no result. `code` is its error code, if it gave one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
