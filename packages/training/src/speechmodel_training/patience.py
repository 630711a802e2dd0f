"""The epochs that dev loss has not improved for: what early stop and reduce-on-plateau wait for."""

from typing import Self

from speechmodel_api.base import Document


class Patience(Document):
    """The lowest dev loss, and the epochs since it was reached."""

    best: float | None = None
    """None before the first epoch with dev clips."""
    epochs: int = 0
    """Finished epochs without an improvement."""

    def after(self, dev_loss: float | None, min_delta: float) -> Self:
        """Return the patience after one more epoch. A loss that is lower by less than `min_delta` is
        no improvement.
        """
        if dev_loss is None:
            return self
        if self.best is None or dev_loss < self.best - min_delta:
            return self.model_copy(update={"best": dev_loss, "epochs": 0})
        return self.model_copy(update={"epochs": self.epochs + 1})

    def again(self) -> Self:
        """Return the patience that has waited for no epoch. The lowest dev loss stays."""
        return self.model_copy(update={"epochs": 0})
