"""report.json of prepare: the rows that were left out or changed, by file and row, with the reason
or the rules, and the coverage of the dataset.
"""

from enum import StrEnum

from speechmodel_api.base import Document
from speechmodel_decoding.text.rejections import RejectionReason, quoted
from speechmodel_runtime import WarningKind

NEGATIVES = "negatives"
"""The source of negatives in registry.csv and in rejections."""


class SpeakerSource(StrEnum):
    """The place where the names of the speakers were found."""

    COLUMN = "Column"
    """A column of the table, such as `speaker` or `client_id`."""
    LAYOUT = "Layout"
    """A folder for each speaker, or `{speaker}` of the name pattern."""
    TAKES = "Takes"
    """The takes that were recorded on the page of the server; other recordings name no speaker."""
    GUESSED = "Guessed"
    """A word that file names share, or the folder."""


class Rejection(Document):
    """A row, or one of its recordings, that is left out.

    A rejected transcript counts once, with all its recordings.
    """

    file: str
    """Relative to the dataset's folder, or NEGATIVES."""
    row: int
    """Line in the file; the header is 1. A recording of other speech has no row, and 0."""
    id: str | None = None
    """Id in the row; None when the row cannot be read."""
    recordings: tuple[str, ...] = ()
    """Recordings that are left out, relative to the dataset's folder, or to that of `dataset.negatives.source`; may be
    empty."""
    transcript: str | None = None
    """Transcript as given; None when the row cannot be read."""
    reason: RejectionReason
    message: str
    """One sentence about the problem and its correction."""

    def __str__(self) -> str:
        return f"{f'{self.file} row {self.row}' if self.row else 'dataset.negatives'}: {self.message}"


class Change(Document):
    """A transcript that the rules changed."""

    file: str
    row: int
    given: str
    used: str
    rules: tuple[str, ...]
    """Names of the rules (text/normalise.py) in the order of their application."""


class Doubt(Document):
    """A recording that is used although something about it is doubtful."""

    file: str
    row: int
    recording: str
    """Relative to the dataset's folder."""
    kind: WarningKind
    message: str
    """One sentence about the doubt and its correction."""

    def __str__(self) -> str:
        return f"{self.file} row {self.row}: {self.recording}: {self.message}"


class AudioKind(Document):
    """Recordings of one kind. All but those of 16 kHz, 1 channel and PCM_16 were converted."""

    sample_rate: int
    """Hz."""
    channels: int
    format: str
    """Container and encoding, in the names of libsndfile or FFmpeg."""
    recordings: int
    """Number of recordings of this kind."""


class SpeakerClips(Document):
    """The clips of a speaker by part."""

    speaker: str
    parts: dict[str, int]


class PhraseCoverage(Document):
    """The clips of a phrase."""

    phrase: str
    clips: int
    """Number of clips. 0 when no recording of the phrase can be used."""
    speakers: int
    """Number of known speakers."""
    seconds: float
    """Length of all clips together."""


class WordCoverage(Document):
    """A word with fewer than 5 takes."""

    word: str
    clips: int
    """Number of clips with the word."""


class RateCoverage(Document):
    """The clips that were recorded at one sample rate."""

    sample_rate: int
    """Hz."""
    clips: int


class LevelCoverage(Document):
    """The loudness of the speech as it was recorded, before it is brought to one level."""

    lowest: float | None = None
    """dBFS. None when no clip has speech, and so for the other two."""
    median: float | None = None
    """dBFS."""
    highest: float | None = None
    """dBFS."""
    quiet: tuple[str, ...] = ()
    """Recordings with speech below -45 dBFS."""
    clipped: tuple[str, ...] = ()
    """Recordings that were too loud for the recorder."""
    without_speech: tuple[str, ...] = ()
    """Recordings in which nothing is clearly louder than the background."""


class SuspiciousClip(Document):
    """A clip whose speech is far shorter or longer than that of others with the same phrase."""

    recording: str
    """Relative to the dataset's folder."""
    file: str
    row: int
    phrase: str
    speech_seconds: float
    median_seconds: float
    """Median of the phrase."""

    def __str__(self) -> str:
        length = f"{self.speech_seconds:.2f} s of speech, while the median for {quoted(self.phrase)} is {self.median_seconds:.2f} s"
        return f"{self.file} row {self.row}: {self.recording} has {length}; check that it has these words"


class Coverage(Document):
    """The coverage of the dataset, from the clips that are used."""

    clips: int
    seconds: float
    """Length of all clips together."""
    speakers: int
    """Number of known speakers."""
    phrases: tuple[PhraseCoverage, ...] = ()
    """Those with the fewest clips first. Empty for free speech, where hardly a sentence is repeated."""
    rare_words: tuple[WordCoverage, ...] = ()
    """Words with fewer than 5 takes, the rarest first."""
    level: LevelCoverage
    sample_rates: tuple[RateCoverage, ...]
    """The most frequent first."""
    suspicious: tuple[SuspiciousClip, ...] = ()
    record_next: tuple[str, ...] = ()
    """At most 13 sentences, the most useful first. Empty when nothing is missing."""


class PrepareReport(Document):
    """report.json."""

    rows: int
    """Rows of the CSV files, without blank ones."""
    recordings: int
    """Recordings that the rows name."""
    clips: int
    """Recordings that are used."""
    negatives: int = 0
    """Clips of other speech, which training learns as the catch-all label."""
    synthesized: int = 0
    """Takes by synthetic voices, which are in no other number."""
    parts: dict[str, int]
    """Clips by part."""
    alphabet: tuple[str, ...]
    audio: tuple[AudioKind, ...]
    """Kinds of recordings, the most frequent first."""
    rejected: tuple[Rejection, ...]
    doubts: tuple[Doubt, ...]
    normalised: tuple[Change, ...]
    unnamed_files: tuple[str, ...]
    """Recordings in the language's folder that no row names."""
    speakers_from: SpeakerSource | None = None
    """The place that names the speakers. None when they are unknown."""
    speakers: tuple[SpeakerClips, ...]
    """The speakers by name. Those in dev and test are in no other part when the split is by
    speaker."""
    layout: str | None = None
    """The pattern by which the file names were read. None for tables that name each file."""
    coverage: Coverage
