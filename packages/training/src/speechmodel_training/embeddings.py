"""The pre-trained speech embedding in TensorFlow, and the embeddings of augmented training clips."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_embedding import ACTIVATION_FLOOR, BANDS, LEAK, Maximum, layers, spectrogram
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.errors import Stopped
from speechmodel_stagekit.program import stop_requested

from speechmodel_training.augmentation import Augmenter
from speechmodel_training.batches import lengthened
from speechmodel_training.dataset import TrainingSet
from speechmodel_training.draws import number
from speechmodel_training.features import Frames, Samples, read_samples

NEGATIVES = 4
"""One of so many negatives is used. The embedding tells words of no language from commands so well that with all of them
the head rejects voices that it does not know, and commands in noise (decision 57)."""
MOST_FRAMES = 600_000
"""Most frames whose embeddings are kept: 115 MB, for 3.3 hours of speech. Of a larger dataset, a part is drawn."""


@dataclass(frozen=True)
class EmbeddedClip:
    """A training clip in one version."""

    embeddings: npt.NDArray[np.float16]
    """`[frames, 96]`."""
    labels: tuple[int, ...]
    """Indexes in the alphabet."""


def embedded_clips(training_set: TrainingSet, augmenter: Augmenter, *, seed: int, versions: int) -> list[EmbeddedClip]:
    """Return every training clip in some versions, each augmented as in an epoch of that number, as far as there is room.

    Raises ArtefactMissing, and Stopped after SIGTERM.
    """
    clips = training_set.train
    index = {label: place for place, label in enumerate(training_set.alphabet)}

    def embedded(draw: tuple[int, int]) -> EmbeddedClip:
        leave_if_stopped()
        clip, version = draw
        sound = augmenter.sound(read_samples(clips[clip].path), clip=clip, epoch=version)
        made = embeddings(np.rint(sound.samples * np.float32(32768)).astype(np.int16))
        made = lengthened(made, clips[clip].frames_needed)
        return EmbeddedClip(made.astype(np.float16), tuple(index[label] for label in clips[clip].transcript))

    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="embeddings") as pool:
        return list(pool.map(embedded, _drawn(training_set, augmenter, seed, versions)))


def _drawn(training_set: TrainingSet, augmenter: Augmenter, seed: int, versions: int) -> list[tuple[int, int]]:
    """Return clips and versions, until there are too many frames. A first clip is always there."""
    chance = np.random.default_rng(number(f"{seed}/embedded clips"))
    drawn: list[tuple[int, int]] = []
    room = MOST_FRAMES
    for version in range(versions):
        for clip in map(int, chance.permutation(len(training_set.train))):
            if training_set.train[clip].transcript == CATCH_ALL and chance.random() >= 1 / NEGATIVES:
                continue
            room -= augmenter.frames(training_set.train[clip].samples, clip=clip, epoch=version)
            if room < 0 and drawn:
                return drawn
            drawn.append((clip, version))
    return drawn


def leave_if_stopped() -> None:
    """Raise Stopped after SIGTERM."""
    if stop_requested.is_set():
        raise Stopped("stopped with the graph's training saved; the phrase network's head is trained anew")


def embeddings(samples: Samples) -> Frames:
    """Return the embeddings of a clip, `[frames, 96]`."""
    with tf.device("CPU:0"):
        made: Frames = _network()(tf.constant(spectrogram(samples))).numpy()
    return made


@cache
def _network() -> tf.types.experimental.PolymorphicFunction:
    """Return the function from a spectrogram, [2 * frames + 74, 32], to embeddings, [frames, 96]."""
    network = [(tf.constant(layer.kernel), tf.constant(layer.bias), layer) for layer in layers()]

    def compute(hops: tf.Tensor) -> tf.Tensor:
        values = hops[None, :, :, None]
        for kernel, bias, layer in network:
            side = [layer.padding, layer.padding]
            values = tf.nn.conv2d(values, kernel, 1, [[0, 0], [0, 0], side, [0, 0]], dilations=[layer.dilation, 1])
            values += bias
            if layer.activated:
                values = tf.maximum(tf.nn.leaky_relu(values, LEAK), ACTIVATION_FLOOR)
            if layer.maximum is not None:
                values = _largest(values, layer.maximum, layer.dilation)
        return values[0, :, 0]

    return tf.function(compute, input_signature=[tf.TensorSpec([None, BANDS], tf.float32)], autograph=False)


def _largest(values: tf.Tensor, maximum: Maximum, dilation: int) -> tf.Tensor:
    """Return the largest of neighbours. TensorFlow has no maximum of dilated neighbours on CPUs."""
    values = tf.nn.max_pool2d(values, [1, 2], [1, 2], "VALID")
    if maximum.over_time:
        values = tf.maximum(values[:, :-dilation], values[:, dilation:])
    return values[:, :: maximum.step]
