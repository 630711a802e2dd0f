"""A full volume, too little memory and missing rights, as TensorFlow reports them."""

import pytest
import tensorflow as tf
from speechmodel_stagekit.errors import StageFailure
from speechmodel_training.tensorflow_errors import tensorflow_errors

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    ("error", "reason", "code", "words"),
    [
        (
            tf.errors.ResourceExhaustedError(None, None, "/workspace/x.tempstate; No space left on device"),
            "StorageFull",
            75,
            "No space left on device; enlarge the workspace claim",
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[64,2048]"),
            "OutOfMemory",
            78,
            "lower hyperparameters.batchSize",
        ),
        (
            tf.errors.PermissionDeniedError(None, None, "/workspace/x; Permission denied"),
            "PermissionDenied",
            78,
            "/workspace/x",
        ),
    ],
)
def test_errors_of_resources_say_what_helps(error: tf.errors.OpError, reason: str, code: int, words: str) -> None:
    with pytest.raises(StageFailure) as failed, tensorflow_errors():
        raise error
    assert (failed.value.reason, failed.value.code) == (reason, code)
    assert words in str(failed.value)
