"""`training.augmentation`: the names and the parameter grammar of DeepSpeech's `--augment`, read and
checked.

    reverb[p=0.1,delay=50~30,decay=10:2~1]

is applied to a clip with the probability 0.1. A value is `v`, `v~r` (drawn uniformly from v-r to
v+r), `a:b` (a in the first epoch, b in the last, linear in between) or `a:b~r` (both). A probability
is `v` or `a:b`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

NUMBER: Final = r"-?[0-9]{1,9}(\.[0-9]{1,9})?"
RANGE: Final = rf"{NUMBER}(:{NUMBER})?(~{NUMBER})?"
_WORD: Final = "[a-z_]{1,20}"
_PARAMETERS: Final = rf"(\[{_WORD}=[^,\[\]=]{{1,64}}(,{_WORD}=[^,\[\]=]{{1,64}}){{0,7}}\])?"
FORM: Final = rf"^{_WORD}{_PARAMETERS}$"
"""The form of an entry. parse() checks names and values."""
LONGEST: Final = 256
"""Characters of an entry at most."""


class AugmentationInvalid(ValueError):
    """An entry of `training.augmentation` cannot be used."""


@dataclass(frozen=True)
class ValueRange:
    """A value that may change from the first epoch to the last, and be drawn around that."""

    start: float
    """Value in the first epoch."""
    end: float
    """Value in the last epoch."""
    radius: float = 0.0
    """Largest distance of a drawn value."""

    def at(self, progress: float, drawn: float) -> float:
        """Return the value for `progress` in 0...1 through the epochs and the uniform draw `drawn`
        in 0...1.
        """
        return self.start + progress * (self.end - self.start) + (2 * drawn - 1) * self.radius

    @property
    def lowest(self) -> float:
        """Smallest value that can be drawn."""
        return min(self.start, self.end) - self.radius

    @property
    def highest(self) -> float:
        """Largest value that can be drawn."""
        return max(self.start, self.end) + self.radius


@dataclass(frozen=True)
class _Parameter:
    default: ValueRange
    lowest: float
    highest: float


@dataclass(frozen=True)
class Augmentation:
    """One entry: a named change of a clip with its parameters."""

    name: str
    probability: ValueRange
    """Share of the clips that are changed, 0...1, with a radius of 0."""
    parameters: MappingProxyType[str, ValueRange]
    domain: str = ""
    """signal, spectrogram or features, for the augmentations that exist in several domains."""


SIGNAL, SPECTROGRAM, FEATURES = "signal", "spectrogram", "features"


def _fixed(value: float, lowest: float, highest: float) -> _Parameter:
    return _Parameter(ValueRange(value, value), lowest, highest)


def _around(value: float, radius: float, lowest: float, highest: float) -> _Parameter:
    return _Parameter(ValueRange(value, value, radius), lowest, highest)


PARAMETERS: Final[dict[str, dict[str, _Parameter]]] = {
    "overlay": {"snr": _fixed(3, -30, 100), "layers": _fixed(1, 1, 16)},
    "noise": {"snr": _around(50, 25, -30, 100)},
    "hum": {"snr": _around(45, 20, -30, 100), "frequency": _around(55, 5, 20, 1000)},
    "reverb": {"delay": _fixed(20, 1, 500), "decay": _fixed(10, 0.5, 60)},
    "resample": {"rate": _fixed(8000, 4000, 16000)},
    "telephone": {"lowest": _around(150, 150, 0, 1000)},
    "codec": {"bitrate": _fixed(24000, 16000, 160000)},
    "volume": {"dbfs": _fixed(3.0103, -100, 3.0103)},
    "gain": {"db": _around(0, 6, -60, 30)},
    "speed": {"factor": _around(1, 0.1, 0.5, 2)},
    "pause_before": {"duration": _around(410, 390, 0, 10000)},
    "pause_after": {"duration": _around(410, 390, 0, 10000)},
    "pitch": {"pitch": _around(1.075, 0.075, 0.5, 2)},
    "tempo": {"factor": _fixed(1.1, 0.5, 2)},
    "warp": {"nt": _fixed(1, 0, 20), "nf": _fixed(1, 0, 20), "wt": _fixed(0.1, 0, 1), "wf": _fixed(0, 0, 1)},
    "tilt": {"slope": _around(0, 2, -12, 12)},
    "frequency_mask": {"n": _fixed(3, 0, 20), "size": _fixed(2, 0, 257)},
    "time_mask": {"n": _fixed(3, 0, 20), "size": _fixed(10, 0, 10000)},
    "dropout": {"rate": _fixed(0.05, 0, 1)},
    "add": {"stddev": _fixed(5, -1000, 1000)},
    "multiply": {"stddev": _fixed(5, -1000, 1000)},
}
"""Every augmentation with its parameters: default, smallest and largest value. Where DeepSpeech has
a parameter, the name, the unit and the default are the same. docs/augmentation.md describes them. Noise is symmetric, so that a negative
standard deviation, which DeepSpeech's own example draws, is as good as a positive one."""

DOMAINS: Final[dict[str, tuple[str, ...]]] = {
    "time_mask": (SPECTROGRAM, SIGNAL, FEATURES),
    "dropout": (SPECTROGRAM, SIGNAL, FEATURES),
    "add": (FEATURES, SIGNAL, SPECTROGRAM),
    "multiply": (FEATURES, SIGNAL, SPECTROGRAM),
}
"""Augmentations that exist in several domains; the first is the default."""

AS_BEFORE: Final = ("pause_before[p=0.5]", "pause_after[p=0.5]", "noise[p=0.7]")
"""The augmentation of models from before `training.augmentation` existed."""


def pattern(names: Iterable[str]) -> str:
    """Return the form of an entry with one of these names, which the API server checks. Only parse() checks parameters and values."""
    return f"^({'|'.join(sorted(names))}){_PARAMETERS}$"


def parse(text: str) -> Augmentation:
    """Return the augmentation that an entry names.

    Raises AugmentationInvalid, which says what to write instead.
    """
    match = re.fullmatch(rf"({_WORD})(?:\[(.*)\])?", text)
    if match is None or not re.fullmatch(FORM, text) or len(text) > LONGEST:
        raise AugmentationInvalid(f"{text!r} is not an augmentation; write it as name[p=0.5,parameter=value]")
    name, inside = match.groups()
    if name not in PARAMETERS:
        raise AugmentationInvalid(f"{text!r}: {name} is unknown; use one of {', '.join(sorted(PARAMETERS))}")
    known, domains = PARAMETERS[name], DOMAINS.get(name, ())
    given: dict[str, str] = {}
    for pair in inside.split(",") if inside else ():
        key, value = pair.split("=")
        if key in given:
            raise AugmentationInvalid(f"{text!r}: {key} is given twice; give it once")
        if key not in known and key != "p" and not (key == "domain" and domains):
            names = ["p", *(["domain"] if domains else []), *known]
            raise AugmentationInvalid(f"{text!r}: {name} has no parameter {key}; it has {', '.join(names)}")
        given[key] = value
    domain = given.pop("domain", domains[0] if domains else "")
    if domains and domain not in domains:
        raise AugmentationInvalid(f"{text!r}: domain is {domain}; use one of {', '.join(domains)}")
    probability = _range(given.pop("p", "1"), text, "p", 0, 1)
    if probability.radius:
        raise AugmentationInvalid(f"{text!r}: p cannot have a range (~); write p=v or p=a:b with numbers from 0 to 1")
    parameters = {
        key: _range(given[key], text, key, parameter.lowest, parameter.highest) if key in given else parameter.default
        for key, parameter in known.items()
    }
    return Augmentation(name, probability, MappingProxyType(parameters), domain)


def _range(value: str, text: str, key: str, lowest: float, highest: float) -> ValueRange:
    if not re.fullmatch(RANGE, value):
        raise AugmentationInvalid(f"{text!r}: {key} is {value}; write v, v~r, a:b or a:b~r with numbers")
    middle, _, radius = value.partition("~")
    start, _, end = middle.partition(":")
    parsed = ValueRange(float(start), float(end or start), float(radius or 0))
    if parsed.radius < 0 or parsed.lowest < lowest - 1e-9 or parsed.highest > highest + 1e-9:
        raise AugmentationInvalid(f"{text!r}: {key} is {value}; every value must be from {lowest:g} to {highest:g}")
    return parsed
