"""The check that the acoustic model is the network that libdeepspeech runs.

libdeepspeech gives transcripts with their log scores and no frames. The score of a transcript is
the log probability of all its paths through all frames, so frames that differ give another score.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_decoding import AcousticModel, forward_score
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_runtime import GraphInfo, load
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.convert.trial import TrialTranscript

log = logging.getLogger(__name__)

TOLERANCE = 0.5
"""Largest difference of two scores. The runtime leaves out frames at the beginning whose blank has a
probability above 0.999. A network with one wrong layer gives the runtime's transcript a score that is
lower by dozens or hundreds."""
LOST_IN_BEAM = 0.1
"""Part of its own score by which the runtime's may be too low, since it leaves out paths that fell out of
its beam. After 3 epochs, 1 to 2 % were measured."""


def require_agreement(
    acoustic: Path, graph: GraphInfo, clips: Sequence[Path], transcripts: Sequence[TrialTranscript]
) -> None:
    """Raise BadData (ModelUnusable) unless the acoustic model scores the transcripts as the runtime did.

    Clips in which the runtime recognised nothing are left out.
    """
    labels = [label.decode() for label in graph.labels]
    differences: dict[str, float] = {}
    agree = True
    try:
        model = AcousticModel(acoustic)
        for path, transcript in zip(clips, transcripts, strict=True):
            if transcript.text:
                classes = [labels.index(character) for character in transcript.text]
                score = forward_score(model.log_probabilities(load(path)), classes)
                difference = score - transcript.confidence
                differences[path.name] = difference
                agree &= -TOLERANCE <= difference <= TOLERANCE + LOST_IN_BEAM * abs(transcript.confidence)
    except AcousticModelError as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
    if not differences:
        log.info("%s was not compared: the runtime recognised nothing in the clips", acoustic.name)
        return
    if not agree:
        listed = ", ".join(f"{clip}: {difference:.3g}" for clip, difference in differences.items())
        raise BadData(
            Reason.MODEL_UNUSABLE,
            f"{acoustic.name} scores the trial clips differently than the runtime ({listed}); export the graph again",
        )
    worst = max(map(abs, differences.values()))
    log.info("%s agrees with the runtime within %.2g on %d clips", acoustic.name, worst, len(differences))
