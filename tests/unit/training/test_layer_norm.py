import numpy as np
import tensorflow as tf
from speechmodel_training.layer_norm import layer_norm, normalised

ROWS, UNITS = 5, 7


def test_outputs_and_gradients_are_those_of_the_exported_ops() -> None:
    random = np.random.default_rng(0)
    shapes = (ROWS, UNITS), (UNITS,), (UNITS,), (ROWS, UNITS)
    *variables, direction = (tf.constant(random.normal(size=shape), tf.float32) for shape in shapes)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(variables)
        ours, exported = layer_norm(*variables), normalised(*variables)
        loss, exported_loss = tf.reduce_sum(ours * direction), tf.reduce_sum(exported * direction)
    np.testing.assert_array_equal(ours, exported)
    for gradient, expected in zip(tape.gradient(loss, variables), tape.gradient(exported_loss, variables), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
