"""Measured quantities with their uncertainty."""

from speechmodel_api.base import ApiModel


class ErrorRate(ApiModel):
    """An error rate with a confidence interval."""

    rate: float
    """Errors divided by the reference's length. 0 is best, and values above 1 are possible."""
    low: float
    """Lower end of the 95 % confidence interval, by bootstrap over the speakers and their clips. If every word is wrong,
    it is 0.05^(1/clips), about 1 - 3/clips."""
    high: float
    """Upper end of the 95 % confidence interval, by bootstrap over the speakers and their clips. If there is no error, it is about
    3/clips: a model with that error rate would make no error in 1 of 20 such tests."""
    clips: int
    """Number of clips that were measured. With few clips the interval is wide."""
    speakers_guessed: bool | None = None
    """True when the speakers are guessed from the names of files or folders, so a voice that counts as
    unseen may be in training. Add a column `speaker` to the dataset's table to name them. Absent otherwise."""
