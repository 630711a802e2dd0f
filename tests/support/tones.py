"""Recordings of all kinds, made of tones: prepare does not listen to words."""

from pathlib import Path

import numpy as np
import soundfile


def tone(
    path: Path,
    hertz: float = 440.0,
    *,
    seconds: float = 1.5,
    rate: int = 16_000,
    channels: int = 1,
    subtype: str = "PCM_16",
) -> Path:
    """A tone that swells and fades, in the container that the name says."""
    at = np.arange(int(seconds * rate)) / rate
    mono = 0.4 * np.sin(2 * np.pi * hertz * at) * np.sin(np.pi * at / seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(mono[:, None], channels, axis=1), rate, subtype=subtype)
    return path


def loudest_hertz(pcm: "np.ndarray[tuple[int], np.dtype[np.int16]]", rate: int = 16_000) -> float:
    """The frequency that is loudest in `pcm`."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * rate / len(pcm))


def rising_tone() -> np.ndarray:
    """Return a tone that rises and a faint one, 0.75 s at 16 kHz."""
    time = np.arange(12000) / 16000
    rising = 4000 * np.sin(2 * np.pi * (200 * time + 900 * time**2)) * np.exp(-(((time - 0.4) / 0.2) ** 2))
    made: np.ndarray = np.rint(rising + 200 * np.sin(2 * np.pi * 2500 * time)).astype(np.int16)
    return made
