"""The head: the layers over the embedding that are trained for each model."""

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """The weights: log softmax of relu((e - mean) / deviation * kernel + bias) * output + output_bias, for an
    embedding e."""

    mean: Floats
    """`[96]`, of the embeddings of the training clips."""
    deviation: Floats
    """`[96]`."""
    kernel: Floats
    """`[96, units]`."""
    bias: Floats
    """`[units]`."""
    output: Floats
    """`[units, labels + 1]`; the blank is last."""
    output_bias: Floats
    """`[labels + 1]`."""

    @property
    def classes(self) -> int:
        """Number of labels, and the blank."""
        return len(self.output_bias)

    def save(self, path: Path) -> None:
        """Write the weights to `path`. Equal weights give equal bytes."""
        with path.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the weights from `path`. Raises OSError, or ValueError if they are no weights of a head."""
        try:
            with np.load(path) as stored:
                return cls(**{field.name: stored[field.name].astype(np.float32) for field in fields(cls)})
        except (KeyError, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is no head of a phrase network: {error}") from error
