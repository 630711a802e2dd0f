"""The recurrent layer on an NVIDIA GPU: one operation of cuDNN for all time steps.

The weights of a checkpoint stay as they are. In each step they are put into cuDNN's order, so a training may move
between GPUs and CPUs. cuDNN 8 and 9 take one vector: for the gates i, f, g and o the transposed weights of the inputs,
then those of the state, then both biases, of which the second is zero here.
"""

import tensorflow as tf


def cudnn_lstm(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Return the outputs h, [time, batch, n], for inputs [time, batch, n], kernel [2n, 4n] and bias
    [4n]. Both states start at zero.

    Its products are of float32, or of TF32 where that is on (see kernels.py).
    """
    start = tf.zeros([1, tf.shape(inputs)[1], kernel.shape[1] // 4])
    parameters = cudnn_parameters(kernel, bias)
    return tf.raw_ops.CudnnRNN(
        input=inputs, input_h=start, input_c=start, params=parameters, rnn_mode="lstm", is_training=True
    ).output


def cudnn_parameters(kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Return the weights and biases in cuDNN's order, [8n² + 8n], for a kernel [2n, 4n] and bias [4n]."""
    matrices = [part for half in tf.split(kernel, 2) for part in _in_order(half)]
    biases = [*_in_order(bias), tf.zeros_like(bias)]
    return tf.concat([tf.reshape(tf.transpose(each), [-1]) for each in (*matrices, *biases)], axis=0)


def _in_order(gates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the parts of i, f, g and o, from columns in the order i, g, f, o."""
    i, g, f, o = tf.split(gates, 4, axis=-1)
    return i, f, g, o
