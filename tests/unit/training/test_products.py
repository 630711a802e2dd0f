"""Products of matrices in float32 and in bfloat16, and the choice between them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from speechmodel_api.progress import TrainProgress
from speechmodel_api.training_spec import Precision
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_training import kernels
from speechmodel_training.batches import BatchMaker
from speechmodel_training.kernels import Kernels, chosen_kernels
from speechmodel_training.learner import Learner
from speechmodel_training.lstm import lstm
from speechmodel_training.network import Geometry
from speechmodel_training.products import BFLOAT16, FLOAT32, Products

from .conftest import ALPHABET, UNCHANGED, Row, Workspace

Make = Callable[[str], Workspace]

BFLOAT16_STEP = 2**-8
"""Largest relative error of rounding to bfloat16."""


def drawn(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(sum(shape)).normal(size=shape), tf.float32)


def test_bfloat16_rounds_the_factors_and_returns_float32() -> None:
    left, right = drawn(7, 40), drawn(40, 5)
    exact, rounded = FLOAT32(left, right), BFLOAT16(left, right)
    assert (exact == left @ right).numpy().all()
    assert rounded.dtype == tf.float32
    bound = 3 * BFLOAT16_STEP * (np.abs(left) @ np.abs(right))
    assert np.abs(rounded - exact).max() > 0 and (np.abs(rounded - exact) < bound).all()
    np.testing.assert_array_equal(BFLOAT16(BFLOAT16.factor(left), right), rounded)
    np.testing.assert_array_equal(BFLOAT16(tf.transpose(left), right, transpose_left=True), rounded)


def test_the_lstm_in_bfloat16_stays_close_and_has_its_gradients() -> None:
    inputs, kernel, bias, direction = drawn(7, 3, 5), drawn(10, 20), drawn(20), drawn(7, 3, 5)

    def computed(products: Products) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel, bias))
            outputs = lstm(inputs, kernel, bias, products)
            loss = tf.reduce_sum(outputs * direction)
        return [outputs.numpy(), *(each.numpy() for each in tape.gradient(loss, (inputs, kernel, bias)))]

    for exact, rounded in zip(computed(FLOAT32), computed(BFLOAT16), strict=True):
        distance = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
        assert 0 < distance < 0.05


@pytest.mark.parametrize(
    ("wanted", "native", "chosen"),
    [
        (Precision.AUTO, True, BFLOAT16),
        (Precision.AUTO, False, FLOAT32),
        (Precision.FLOAT32, True, FLOAT32),
        (Precision.BFLOAT16, False, BFLOAT16),
    ],
)
def test_auto_takes_bfloat16_where_it_is_faster(
    wanted: Precision, native: bool, chosen: Products, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "multiplies_bfloat16", lambda: native)
    for gpus in ([], ["GPU:0"]):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind, found=gpus: found)
        assert chosen_kernels(wanted) == Kernels(chosen, cudnn=bool(gpus))
        assert tf.config.experimental.tensor_float_32_execution_enabled() == (chosen == BFLOAT16)


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("flags\t\t: fpu avx512f avx512_bf16", False),
        ("Features\t: fp asimd bf16", False),
        ("", False),
    ],
)
def test_the_processor_says_what_it_multiplies(flags: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: f"processor\t: 0\n{flags}\n")
    assert kernels.multiplies_bfloat16() is native


@pytest.mark.parametrize(("capability", "native"), [((8, 0), True), ((9, 0), True), ((7, 5), False)])
def test_a_gpu_says_what_it_multiplies(
    capability: tuple[int, int], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": capability}
    )  # no GPU is here
    assert kernels.multiplies_bfloat16() is native


@pytest.mark.training
def test_the_precision_changes_the_weights(make_workspace: Make) -> None:
    exact, rounded = make_workspace("exact"), make_workspace("rounded")
    for workspace, wanted in ((exact, "Float32"), (rounded, "BFloat16")):
        workspace.train(maxEpochs=1, precision=wanted)
    assert exact.graph().read_bytes() != rounded.graph().read_bytes()


def test_clips_are_measured_in_float32(rows: list[Row], fixtures: Path) -> None:
    clips = [Clip(fixtures / name, transcript, Part.DEV) for name, transcript in rows[:4]]
    batch = BatchMaker(clips, ALPHABET, UNCHANGED).make((0, 1, 2, 3))
    learners = (
        Learner(Geometry(16, len(ALPHABET)), seed=1, learning_rate=0.001, dropout=0.0, kernels=Kernels(products))
        for products in (FLOAT32, BFLOAT16)
    )
    exact, other = (learner.measure(batch).loss_sum for learner in learners)
    assert exact == other


@pytest.mark.training
@pytest.mark.parametrize(("native", "warned"), [(True, False), (False, True)])
def test_bfloat16_on_a_processor_that_emulates_it_is_reported(
    native: bool,
    warned: bool,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "multiplies_bfloat16", lambda: native)
    workspace.train(maxEpochs=1, precision="BFloat16")
    lines = capsys.readouterr().out.splitlines()
    assert {"BFloat16" in (TrainProgress.model_validate_json(line).warning or "") for line in lines} == {warned}
