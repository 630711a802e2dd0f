"""A full volume, too little memory and missing rights, as TensorFlow reports them."""

import pytest
import tensorflow as tf
from speechmodel_stagekit.errors import StageFailure
from speechmodel_training.tensorflow_errors import quoted, tensorflow_errors

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


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "{{function_node __wrapped__SaveV2_dtypes_52_device_/job:localhost/device:CPU:0}} /workspace/model.data; No space "
            "left on device [Op:SaveV2]",
            "/workspace/model.data; No space left on device",
        ),
        (
            "{{function_node __inference_<lambda>_8}} Collective ops is aborted by: a worker cannot be reached\nThe error could "
            "be from a previous operation. Restart your program to reset.\n\t [[{{node CollectiveReduceV2}}]] [Op:__inference_x]",
            "Collective ops is aborted by: a worker cannot be reached",
        ),
        ("/workspace/[a]{b}; Permission denied", "/workspace/[a]{b}; Permission denied"),
    ],
)
def test_a_message_is_quoted_without_the_names_of_operations(message: str, shown: str) -> None:
    assert quoted(tf.errors.UnavailableError(None, None, message)) == shown
