"""Augmentation: every clip is changed in every epoch, by the entries of `training.augmentation`.

augmenter.py    the entries in their order, and the draws that decide what happens to a clip
automatic.py    the tuned entries of Auto
noises.py       sounds that are added to a clip
signal.py       changes of samples
lines.py        telephone and codec
spectrogram.py  changes of a power spectrogram, and those that exist in several domains
"""

from speechmodel_training.augmentation.augmenter import AugmentedClip, Augmenter
from speechmodel_training.augmentation.automatic import AUTO

__all__ = ["AUTO", "AugmentedClip", "Augmenter"]
