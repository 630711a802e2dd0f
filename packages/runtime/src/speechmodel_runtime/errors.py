"""What can go wrong with audio, library and model.

Every message names the file and says what to do next:

    SpeechRuntimeError
    +-- AudioError
    |   +-- AudioMissing        there is no such file, or it may not be read
    |   +-- AudioUnreadable     not audio that libsndfile reads, damaged, or of an impossible sample rate
    |   +-- AudioEmpty          no bytes, no samples, or too few to resample
    |   +-- AudioTooShort       less than one window of the model
    |   +-- AudioTooLong        more than the caller allows
    +-- LibraryError
    |   +-- LibraryMissing      libdeepspeech.so is not where it should be
    |   +-- LibraryUnusable     it is there, but this machine cannot load it or it is another version
    +-- ModelError
    |   +-- ModelMissing        there is no such file, or it may not be read
    |   +-- ModelUnreadable     cut, damaged, misnamed or no model at all
    |   +-- ModelIncompatible   a sound graph that this runtime cannot run, or that would crash it
    |   +-- ModelClosed         used after close()
    |   +-- StreamFinished      a stream was used after finish() or close()
    +-- DecodingFailed          the runtime gave up on audio that it should have taken
"""


class SpeechRuntimeError(Exception):
    """The base of every error of this package."""


class AudioError(SpeechRuntimeError):
    """Something about one recording; `name` is the file's name as the caller gave it."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class AudioMissing(AudioError):
    """There is no such file, or it may not be read."""


class AudioUnreadable(AudioError):
    """Not audio that libsndfile reads, damaged, or of an impossible sample rate."""


class AudioEmpty(AudioError):
    """The file has no bytes, or audio of no samples or too few to resample."""


class AudioTooShort(AudioError):
    """Shorter than one window of the model: the runtime would make words up from silence."""


class AudioTooLong(AudioError):
    """Longer than the caller allows."""


class LibraryError(SpeechRuntimeError):
    """Something about libdeepspeech.so."""


class LibraryMissing(LibraryError):
    """The library is not where it should be."""


class LibraryUnusable(LibraryError):
    """The library is there, but cannot be loaded here or is not 0.9.x."""


class ModelError(SpeechRuntimeError):
    """Something about one model file; `path` as the caller gave it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class ModelMissing(ModelError):
    """There is no such file, or it may not be read."""


class ModelUnreadable(ModelError):
    """Cut, damaged, misnamed or no model at all."""


class ModelIncompatible(ModelError):
    """A sound graph that this runtime cannot run, or that would crash it."""


class ModelClosed(ModelError):
    """The model was used after close()."""


class StreamFinished(ModelError):
    """A stream was used after finish() or close()."""


class DecodingFailed(SpeechRuntimeError):
    """The runtime gave no result; `code` is its own error code where it gave one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
