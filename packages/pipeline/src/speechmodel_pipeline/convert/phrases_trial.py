"""A trial of the phrase network: it runs on clips, and gives a log probability for each label of the graph and each frame."""

from collections.abc import Sequence
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_decoding import AcousticModel
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_embedding import frame_count
from speechmodel_runtime import GraphInfo, load
from speechmodel_stagekit.errors import BadData


def try_phrase_network(network: Path, graph: GraphInfo, clips: Sequence[Path]) -> None:
    """Raise BadData (ModelUnusable) unless the network runs, and gives finite numbers for each label and the blank."""
    classes = len(graph.labels) + 1
    try:
        model = AcousticModel(network)
        for clip in clips:
            pcm = load(clip)
            found, wanted = model.log_probabilities(pcm).shape, (frame_count(len(pcm)), classes)
            if found != wanted:
                raise BadData(
                    Reason.MODEL_UNUSABLE,
                    f"{network.name} gives {found[0]} frames of {found[1]} classes for {clip.name}, and not {wanted[0]} of "
                    f"{wanted[1]}; train the model again",
                )
    except AcousticModelError as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
