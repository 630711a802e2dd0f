"""The takes that people recorded on the page of the server: rows of every format's dataset.

They are read from `takes/` in the folder of the dataset (speechmodel_api.takes). The split divides them
as it does other recordings, so the takes of one speaker stay together.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.takes import MISHEARD, TAKES, Take
from speechmodel_decoding.text.rejections import RejectionReason

from speechmodel_pipeline.prepare.recordings import Listing, Recording, is_file, printable
from speechmodel_pipeline.prepare_report import Rejection, SpeakerSource

_NOT_OF_A_TABLE = (f"{TAKES}/", f"{MISHEARD}/")
"""Folders with recordings that no table names."""


def with_takes(listing: Listing, source: Path, normalised: Callable[[str], str]) -> Listing:
    """Return `listing` with the takes in the dataset's folder `source`.

    Rows without a recording are not rejected when a take has their sentence, once both are `normalised`.
    """
    listing = replace(
        listing, unnamed_files=tuple(name for name in listing.unnamed_files if not name.startswith(_NOT_OF_A_TABLE))
    )
    documents = sorted(path for path in (source / TAKES).glob("*/*.json") if not path.name.startswith("."))
    if not documents:
        return listing
    recordings: list[Recording] = []
    rejected: list[Rejection] = []
    for document in documents:
        name = printable(document, source)
        try:
            take = Take.model_validate_json(document.read_bytes())
        except FileNotFoundError:
            continue  # somebody deleted the take just now
        except ValidationError as error:
            problem = (
                f"is not the description of a take: {error.errors()[0]['msg']}; delete it or record the take again"
            )
            rejected.append(_rejection(name, problem, RejectionReason.MALFORMED_ROW))
            continue
        sound = document.with_suffix(".wav")
        if is_file(sound):
            shown = printable(sound, source)
            recordings.append(
                Recording(name, 1, document.stem, sound, shown, take.text, part=None, speaker=take.speaker)
            )
        else:
            problem = f"its recording {sound.name} is missing; delete the description or record the take again"
            rejected.append(_rejection(name, problem, RejectionReason.NO_RECORDING, take.text))
    said = {normalised(recording.transcript) for recording in recordings}

    def recorded(rejection: Rejection) -> bool:
        without = rejection.reason is RejectionReason.NO_RECORDING and rejection.transcript is not None
        return without and normalised(rejection.transcript or "") in said

    return replace(
        listing,
        rows=listing.rows + len(documents),
        recordings=(*listing.recordings, *recordings),
        rejected=(*(each for each in listing.rejected if not recorded(each)), *rejected),
        speakers_from=listing.speakers_from or (SpeakerSource.TAKES if recordings else None),
    )


def _rejection(name: str, problem: str, reason: RejectionReason, transcript: str | None = None) -> Rejection:
    return Rejection(file=name, row=1, id="", transcript=transcript, reason=reason, message=problem)
