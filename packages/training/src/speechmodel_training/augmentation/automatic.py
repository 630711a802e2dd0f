"""The tuned entries of `training.augmentation: Auto`. Decision 8 has the figures."""

from typing import Final

from speechmodel_api.schema import AUTO as NAME
from speechmodel_api.training_spec import Augmentations

AUTO: Final = (
    # voices: vocal tracts of other lengths, faster and slower speech, other microphones and rooms. Few
    # clips are changed in the first epochs, when the network learns little from changed ones
    "speed[p=0.2:1,factor=1~0.15]",
    "pitch[p=0.2:1,pitch=1~0.2]",
    "tilt[p=0.2:1,slope=0~4]",
    "reverb[p=0.1,delay=20~15,decay=6~3]",
    # places: silence around the speech, other people, hiss, hum
    "pause_before[p=0.5]",
    "pause_after[p=0.5]",
    "overlay[p=0.25,snr=20~12,layers=3]",
    "noise[p=0.5,snr=40~32]",
    "hum[p=0.1]",
    # lines and levels
    "telephone[p=0.1,lowest=150~150]",
    "codec[p=0.05,bitrate=28000~12000]",
    "gain[p=0.5,db=-9.25~10.75]",
    # the noise that every recording has when it is decoded; see level.py of the runtime
    "add[domain=signal,stddev=0.00025]",
)

AUTO_OF_HEAD: Final = (
    *AUTO[:4],
    # babble in more clips than for the graph, in half of them also in the silence around the speech
    "overlay[p=0.3,snr=16~12,layers=3]",
    "pause_before[p=0.5]",
    "pause_after[p=0.5]",
    "overlay[p=0.6,snr=16~12,layers=3]",
    *AUTO[7:],
)
"""Auto for the head of the phrase network."""


def chosen(augmentation: Augmentations) -> tuple[str, ...]:
    """Return the entries of a training, those of Auto included."""
    return AUTO if augmentation == NAME else tuple(augmentation)


def chosen_for_head(augmentation: Augmentations) -> tuple[str, ...]:
    """Return the entries of the training of the phrase network's head."""
    return AUTO_OF_HEAD if augmentation == NAME else tuple(augmentation)
