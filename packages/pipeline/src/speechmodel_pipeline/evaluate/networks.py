"""The network that decodes a grammar: the phrase network, or that of acoustic.onnx if it recognises clearly more of the dev clips."""

import logging
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.stages.decoders import Calibration, GrammarDecoder
from speechmodel_api.stages.evaluate import EvaluateInput, NetworkChoice
from speechmodel_api.workspace import ACOUSTIC, PHRASES
from speechmodel_decoding import Grammar, Recogniser
from speechmodel_stagekit.artefacts import file_digest, require_file
from speechmodel_stagekit.dataset import PreparedDataset

from speechmodel_pipeline.evaluate.grammar import CalibratedOn, calibrated, load_acoustic_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GrammarNetwork:
    """A network with its calibration for a grammar."""

    path: Path
    recogniser: Recogniser
    calibration: Calibration
    calibrated_on: CalibratedOn

    def decoder(self, grammar: Path) -> GrammarDecoder:
        """Return the description of the network with the compiled grammar."""
        return GrammarDecoder(
            acoustic_sha256=file_digest(self.path),
            grammar_sha256=file_digest(grammar),
            calibration=self.calibration,
            embedded=self.recogniser.model.embedded,
        )


def choose_network(
    task: EvaluateInput, export: Path, grammar: Grammar, dataset: PreparedDataset
) -> tuple[GrammarNetwork, NetworkChoice | None]:
    """Return the network that decodes the grammar, and the counts of both. None for a conversion without phrase network.

    Raises ArtefactMissing and BadData (ModelUnusable).
    """
    acoustic = _calibrated(require_file(export / ACOUSTIC, task.acoustic_sha256), grammar, dataset)
    chosen, choice = acoustic, None
    if task.phrases_sha256 is not None:
        phrases = _calibrated(require_file(export / PHRASES, task.phrases_sha256), grammar, dataset)
        on = phrases.calibrated_on
        choice = NetworkChoice(
            clips=on.clips + on.copies, phrases_right=on.right, acoustic_right=acoustic.calibrated_on.right
        )
        chosen = phrases if choice.embedded else acoustic
        log.info(
            "%s decodes the grammar: the phrase network recognised %d of %d calibration clips, the network of DeepSpeech %d",
            chosen.path.name,
            choice.phrases_right,
            choice.clips,
            choice.acoustic_right,
        )
    on = chosen.calibrated_on
    if not on.right:
        log.warning("the model recognises none of %d %s clips, so it will accept nothing", on.clips, on.part.value)
    return chosen, choice


def _calibrated(path: Path, grammar: Grammar, dataset: PreparedDataset) -> GrammarNetwork:
    model = load_acoustic_model(path)
    calibration, calibrated_on = calibrated(model, grammar, dataset)
    return GrammarNetwork(path, Recogniser(model, grammar, calibration), calibration, calibrated_on)
