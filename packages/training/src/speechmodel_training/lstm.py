"""The recurrent layer: TensorFlow's BlockLSTM forward, and a backward pass written by hand.

BlockLSTM is the kernel that the runtime runs, so training and serving compute the same numbers. Its
own gradient computes the gradient of the kernel in every time step. Here one matrix product after
the loop does it for all steps, which makes training about twice as fast at 128 hidden units and
five times as fast at 2048.

Gates are columns of the kernel in the order i (input), g (candidate), f (forget), o (output):

z = [x_t, h_{t-1}] W + b
c_t = i g + f c_{t-1}        with i, f, o = sigmoid, g = tanh of their part of z
h_t = o tanh(c_t)
"""

from collections.abc import Callable

import tensorflow as tf

Gradients = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""The gradients of inputs, kernel and bias."""


def lstm(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Return the outputs h, [time, batch, n], for inputs [time, batch, n], kernel [2n, 4n] and bias
    [4n]. Both states start at zero.
    """

    def forward(
        inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], Gradients]]:
        units = kernel.shape[1] // 4
        start = tf.zeros([tf.shape(inputs)[1], units])
        run = _block_lstm(inputs, kernel, bias, start)
        return run.h, lambda d_outputs: _backward(d_outputs, inputs, kernel, run, start)

    return tf.custom_gradient(forward)(inputs, kernel, bias)


def _block_lstm(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    no_peephole = tf.zeros([kernel.shape[1] // 4])
    return tf.raw_ops.BlockLSTM(
        seq_len_max=tf.shape(inputs, out_type=tf.int64)[0],
        x=inputs,
        cs_prev=start,
        h_prev=start,
        w=kernel,
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=bias,
        forget_bias=0.0,
        cell_clip=-1.0,
        use_peephole=False,
    )


def _backward(
    d_outputs: tf.Tensor, inputs: tf.Tensor, kernel: tf.Tensor, run: tf.Tensor, start: tf.Tensor
) -> Gradients:
    """Return the gradients of inputs, kernel and bias.

    Only what depends on the following time step is computed in the loop.
    """
    units = kernel.shape[1] // 4
    i, g, f, o, tanh_c = run.i, run.ci, run.f, run.o, run.co
    c_before = _shifted(run.cs, start)
    # d z = [dc, dc, dc, dh] * slope, part by part
    slope = tf.concat([g * i * (1 - i), i * (1 - g * g), c_before * f * (1 - f), tanh_c * o * (1 - o)], axis=2)
    d_z = _backward_loop(
        d_outputs, slope, through_c=o * (1 - tanh_c * tanh_c), forget=f, recurrent=kernel[units:], end=start
    )
    rows = tf.reshape(d_z, [-1, 4 * units])
    seen = tf.reshape(tf.concat([inputs, _shifted(run.h, start)], axis=2), [-1, 2 * units])
    d_inputs = tf.reshape(tf.matmul(rows, kernel[:units], transpose_b=True), tf.shape(inputs))
    return d_inputs, tf.matmul(seen, rows, transpose_a=True), tf.reduce_sum(rows, axis=0)


def _backward_loop(
    d_outputs: tf.Tensor,
    slope: tf.Tensor,
    *,
    through_c: tf.Tensor,
    forget: tf.Tensor,
    recurrent: tf.Tensor,
    end: tf.Tensor,
) -> tf.Tensor:
    """Return d z of every time step, [time, batch, 4n].

    It goes from the last step, after which both gradients are `end`, to the first.
    """
    steps, units = tf.shape(d_outputs)[0], recurrent.shape[0]
    recurrent = tf.transpose(recurrent)
    d_outputs, slope, through_c, forget = (_steps(each) for each in (d_outputs, slope, through_c, forget))
    d_z = tf.TensorArray(tf.float32, size=steps, element_shape=[None, 4 * units])

    def step(t: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor, d_z: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        d_h = d_h + d_outputs.read(t)
        d_c = d_c + d_h * through_c.read(t)
        here = tf.concat([d_c, d_c, d_c, d_h], axis=1) * slope.read(t)
        return t - 1, tf.matmul(here, recurrent), d_c * forget.read(t), d_z.write(t, here)

    *_, d_z = tf.while_loop(lambda t, *_: t >= 0, step, [steps - 1, end, end, d_z])
    return d_z.stack()


def _shifted(states: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Return the state before each time step."""
    return tf.concat([start[None], states[:-1]], axis=0)


def _steps(sequence: tf.Tensor) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, size=tf.shape(sequence)[0], element_shape=[None, sequence.shape[2]]).unstack(
        sequence
    )
