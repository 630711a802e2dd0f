"""The augmentations of a training, and what they make of a clip in an epoch.

As in DeepSpeech, the signal is changed first, then its spectrogram, then its features, each by the
entries in their order. All draws depend on seed, epoch, clip and entry alone, so training that was
interrupted ends with the same weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE, STRIDE, frame_count
from speechmodel_api.augmentation import FEATURES, SIGNAL, SPECTROGRAM, Augmentation

from speechmodel_training.augmentation import lines, noises, signal, spectrogram
from speechmodel_training.draws import number, uniform
from speechmodel_training.features import Frames, Samples, coefficients, power_spectrogram, read_samples
from speechmodel_training.onset import detect_speech

_FULL_SCALE = 32768.0
_SAMPLES_PER_MS = SAMPLE_RATE // 1000
_MS_PER_FRAME = 1000 * STRIDE / SAMPLE_RATE
_IN_SPECTROGRAM = ("pitch", "tempo", "warp", "tilt", "frequency_mask")
_IN_TIME = ("speed", "tempo", "warp", "pause_before", "pause_after")
"""Augmentations that move speech in time. They are the same in all versions of a clip in an epoch."""


@dataclass(frozen=True)
class AugmentedClip:
    """A clip as the network gets it in one epoch."""

    features: Frames
    leading_silence: int
    """Frames before the speech begins."""


@dataclass(frozen=True)
class _Draw:
    """The draws of one entry for one clip in one epoch."""

    entry: Augmentation
    name: str
    progress: float
    """Progress through the epochs, 0...1."""

    @property
    def applies(self) -> bool:
        return uniform(f"{self.name}/p") < self.entry.probability.at(self.progress, 0.5)

    def value(self, parameter: str) -> float:
        return self.entry.parameters[parameter].at(self.progress, uniform(f"{self.name}/{parameter}"))

    def count(self, parameter: str) -> int:
        return round(self.value(parameter))

    def chance(self) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=number(self.name)))


@dataclass(frozen=True)
class _Sound:
    """The signal of a clip between two augmentations."""

    samples: signal.Signal
    speech: float
    """Root mean square of the loud frames, which noise is measured against."""
    onset: float
    """Samples before the speech."""


class Augmenter:
    """Applies the entries to the clips of one part."""

    def __init__(
        self, entries: Sequence[Augmentation], *, seed: int, max_epochs: int = 1, voices: Sequence[Path] = ()
    ) -> None:
        """`voices` are the clips that overlay draws from: the training clips in the order of their
        indexes. A range `a:b` reaches b in the last of `max_epochs` epochs, and is b if there is
        only one.
        """
        self._entries: dict[str, list[tuple[int, Augmentation]]] = {SIGNAL: [], SPECTROGRAM: [], FEATURES: []}
        for place, entry in enumerate(entries):
            self._entries[_domain(entry)].append((place, entry))
        self._seed, self._last_epoch, self._voices = seed, max_epochs - 1, voices

    def frames(self, samples: int, *, clip: int, epoch: int) -> int:
        """Return the feature frames that a clip of `samples` samples has in this epoch."""
        for draw in self._draws(SIGNAL, clip, epoch):
            match draw.entry.name:
                case "speed":
                    samples = signal.speed_length(samples, draw.value("factor"))
                case "pause_before" | "pause_after":
                    samples += _pause(draw)
        frames = frame_count(samples)
        for draw in self._draws(SPECTROGRAM, clip, epoch):
            if draw.entry.name == "tempo":
                frames = spectrogram.tempo_length(frames, draw.value("factor"))
        return frames

    def augment(self, samples: Samples, *, clip: int, epoch: int, version: int = 0) -> AugmentedClip:
        """Return the clip with this index as it is in this epoch. The speech is in the same frames in all its versions."""
        sound = self.sound(samples, clip=clip, epoch=epoch, version=version)
        power = power_spectrogram(sound.samples)
        silence = sound.onset / STRIDE
        for draw in self._draws(SPECTROGRAM, clip, epoch, version):
            if draw.entry.name == "tempo":
                silence /= len(power) / spectrogram.tempo_length(len(power), draw.value("factor"))
            power = np.maximum(_change_table(power, draw, _MS_PER_FRAME), 0)
        features = coefficients(power)
        for draw in self._draws(FEATURES, clip, epoch, version):
            features = _change_table(features, draw, _MS_PER_FRAME)
        return AugmentedClip(features.astype(np.float32, copy=False), min(int(silence), len(features) - 1))

    def sound(self, samples: Samples, *, clip: int, epoch: int, version: int = 0) -> _Sound:
        """Return the clip after the augmentations of the signal, with 16-bit samples."""
        speech = detect_speech(samples)
        sound = _Sound(
            samples.astype(np.float32) / np.float32(_FULL_SCALE),
            10 ** (speech.loudness / 20) / _FULL_SCALE,
            speech.onset * STRIDE,
        )
        for draw in self._draws(SIGNAL, clip, epoch, version):
            sound = self._change(sound, draw, clip)
        rounded = np.clip(np.rint(sound.samples * np.float32(_FULL_SCALE)), -_FULL_SCALE, _FULL_SCALE - 1)
        return replace(sound, samples=(rounded / np.float32(_FULL_SCALE)).astype(np.float32))

    def _draws(self, domain: str, clip: int, epoch: int, version: int = 0) -> list[_Draw]:
        """Return the draws of the entries that apply, in their order."""
        progress = min(epoch / self._last_epoch, 1.0) if self._last_epoch else 1.0
        draws = (
            _Draw(entry, f"{self._seed}/{epoch}/{clip}/{place}/{entry.name}{_suffix(entry, version)}", progress)
            for place, entry in self._entries[domain]
        )
        return [draw for draw in draws if draw.applies]

    def _change(self, sound: _Sound, draw: _Draw, clip: int) -> _Sound:
        """Return the sound after one augmentation of the signal."""
        samples, length = sound.samples, len(sound.samples)
        match draw.entry.name:
            case "speed":
                factor = draw.value("factor")
                changed = signal.changed_speed(samples, factor)
                return replace(sound, samples=changed, onset=sound.onset / factor)
            case "pause_before":
                pause = _pause(draw)
                return replace(sound, samples=signal.padded(samples, pause, 0), onset=sound.onset + pause)
            case "pause_after":
                return replace(sound, samples=signal.padded(samples, 0, _pause(draw)))
            case "volume" | "gain":
                volume = draw.entry.name == "volume"
                db = signal.peak_gain(samples, draw.value("dbfs")) if volume else draw.value("db")
                return replace(sound, samples=signal.amplified(samples, db), speech=sound.speech * 10 ** (db / 20))
            case "noise":
                return _with_noise(sound, noises.hiss(length, draw.chance()), draw)
            case "hum":
                return _with_noise(sound, noises.hum(length, draw.value("frequency"), draw.chance()), draw)
            case "overlay":
                return _with_noise(sound, self._babble(length, draw, clip), draw)
            case "reverb":
                changed = signal.reverberated(samples, draw.value("delay"), draw.value("decay"), draw.chance())
            case "resample":
                changed = signal.resampled(samples, draw.value("rate"))
            case "telephone":
                changed = lines.telephone(samples, draw.value("lowest"))
            case "codec":
                changed = lines.mp3(samples, draw.value("bitrate"))
            case _:
                changed = _change_table(samples[:, None], draw, 1 / _SAMPLES_PER_MS)[:, 0]
        return replace(sound, samples=changed)

    def _babble(self, length: int, draw: _Draw, clip: int) -> signal.Signal:
        """Return other clips at once."""
        chance, wanted = draw.chance(), draw.count("layers")
        others = [voice for voice in chance.permutation(len(self._voices))[: wanted + 1] if voice != clip][:wanted]
        return noises.babble(length, [read_samples(self._voices[other]).astype(np.float32) for other in others], chance)


def _domain(entry: Augmentation) -> str:
    if entry.domain:
        return entry.domain
    return SPECTROGRAM if entry.name in _IN_SPECTROGRAM else SIGNAL


def _suffix(entry: Augmentation, version: int) -> str:
    """Return the end of the name of a draw, which is empty in the first version of a clip."""
    return f"/{version}" if version and entry.name not in _IN_TIME else ""


def _pause(draw: _Draw) -> int:
    """Return the samples of a pause, which is a whole number of frames."""
    return round(draw.value("duration") / _MS_PER_FRAME) * STRIDE


def _with_noise(sound: _Sound, noise: signal.Signal, draw: _Draw) -> _Sound:
    mixed = noises.mixed(sound.samples, noise, speech=sound.speech, snr=draw.value("snr"))
    return replace(sound, samples=mixed)


def _change_table(values: spectrogram.Spectrogram, draw: _Draw, ms_per_row: float) -> spectrogram.Spectrogram:
    """Return a spectrogram, features or a signal `[samples, 1]` after one augmentation."""
    match draw.entry.name:
        case "pitch":
            return spectrogram.shifted_pitch(values, draw.value("pitch"))
        case "tempo":
            return spectrogram.changed_tempo(values, draw.value("factor"))
        case "warp":
            points = draw.count("nt"), draw.count("nf")
            return spectrogram.warped(values, *points, draw.value("wt"), draw.value("wf"), draw.chance())
        case "tilt":
            return spectrogram.tilted(values, draw.value("slope"))
        case "frequency_mask":
            return spectrogram.masked_columns(values, draw.count("n"), draw.count("size"), draw.chance())
        case "time_mask":
            rows = math.ceil(draw.value("size") / ms_per_row)
            return spectrogram.masked_rows(values, draw.count("n"), rows, draw.chance())
        case "dropout":
            return spectrogram.dropped(values, draw.value("rate"), draw.chance())
        case "add":
            return spectrogram.added(values, draw.value("stddev"), draw.chance())
        case "multiply":
            return spectrogram.multiplied(values, draw.value("stddev"), draw.chance())
        case name:
            raise AssertionError(f"{name} is in PARAMETERS and has no implementation")
