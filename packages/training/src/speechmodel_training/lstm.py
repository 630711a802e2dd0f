"""The recurrent layer: a loop over the time steps, and a backward pass written by hand.

Only what depends on the time step before is in the loops. One matrix product for all steps computes what the inputs
contribute, and others the gradients of the kernel. In the loops the clips of a batch are columns: a product of the
weights with 16 columns takes about half of the processor time of 16 rows times the weights (decision 38).

Gates are columns of the kernel in the order i (input), g (candidate), f (forget), o (output):

z = [x_t, h_{t-1}] W + b
c_t = i g + f c_{t-1}        with i, f, o = sigmoid, g = tanh of their part of z
h_t = o tanh(c_t)
"""

from collections.abc import Callable

import tensorflow as tf

from speechmodel_training.products import FLOAT32, Products

Gradients = tuple[tf.Tensor, tf.Tensor]
"""The gradients of the inputs' part of z, and of the recurrent weights."""


def lstm(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, products: Products = FLOAT32) -> tf.Tensor:
    """Return the outputs h, [time, batch, n], for inputs [time, batch, n], kernel [2n, 4n] and bias
    [4n]. Both states start at zero.
    """
    time, batch = tf.unstack(tf.shape(inputs)[:2])
    of_inputs, recurrent = tf.split(kernel, 2)
    seen = tf.nn.bias_add(products(tf.reshape(inputs, [-1, inputs.shape[2]]), of_inputs), bias)

    def recurrence(seen: tf.Tensor, recurrent: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Gradients]]:
        return _recurrence(products, seen, recurrent)

    return tf.custom_gradient(recurrence)(tf.reshape(seen, [time, batch, bias.shape[0]]), recurrent)


def _recurrence(
    products: Products, seen: tf.Tensor, recurrent: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], Gradients]]:
    """Return h, [time, batch, n], for the inputs' part of z, [time, batch, 4n], and weights [n, 4n]."""
    units = recurrent.shape[0]
    start = tf.zeros([units, tf.shape(seen)[1]])
    z, c, h = _forward_loop(products, _columns(seen), tf.transpose(recurrent), start)

    def backward(d_outputs: tf.Tensor) -> Gradients:
        i, g, f, o = _gates(z)
        tanh_c, c_before = tf.tanh(c), _shifted(c, start)
        # d z = [dc, dc, dc, dh] * slope, part by part
        slope = tf.concat([g * i * (1 - i), i * (1 - g * g), c_before * f * (1 - f), tanh_c * o * (1 - o)], axis=1)
        through_c = o * (1 - tanh_c * tanh_c)
        d_z = _columns(_backward_loop(products, _columns(d_outputs), slope, through_c, f, recurrent, start))
        h_before = tf.reshape(_columns(_shifted(h, start)), [-1, units])
        return d_z, products(h_before, tf.reshape(d_z, [-1, 4 * units]), transpose_left=True)

    return _columns(h), backward


def _forward_loop(
    products: Products, seen: tf.Tensor, recurrent: tf.Tensor, start: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return z, [time, 4n, batch], and c and h, [time, n, batch], for the inputs' part of z and weights [4n, n]."""
    rows, units = recurrent.shape
    weights = products.factor(recurrent)
    arriving = _steps(seen)
    steps = arriving.size()

    def step(t: tf.Tensor, c: tf.Tensor, h: tf.Tensor, *lists: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        z = arriving.read(t) + products(weights, h)
        i, g, f, o = _gates(z)
        c = i * g + f * c
        h = o * tf.tanh(c)
        return t + 1, c, h, *(each.write(t, value) for each, value in zip(lists, (z, c, h), strict=True))

    lists = [_empty(steps, size) for size in (rows, units, units)]
    _, _, _, z, c, h = tf.while_loop(lambda t, *_: t < steps, step, [0, start, start, *lists])
    return z.stack(), c.stack(), h.stack()


def _backward_loop(
    products: Products,
    d_outputs: tf.Tensor,
    slope: tf.Tensor,
    through_c: tf.Tensor,
    forget: tf.Tensor,
    recurrent: tf.Tensor,
    end: tf.Tensor,
) -> tf.Tensor:
    """Return d z of every time step, [time, 4n, batch], for tensors [time, n or 4n, batch] and weights [n, 4n].

    It goes from the last step, after which both gradients are `end`, to the first.
    """
    leaving, slopes, through, kept = (_steps(each) for each in (d_outputs, slope, through_c, forget))
    steps, weights = leaving.size(), products.factor(recurrent)

    def step(t: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor, d_z: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        d_h = d_h + leaving.read(t)
        d_c = d_c + d_h * through.read(t)
        here = tf.concat([d_c, d_c, d_c, d_h], axis=0) * slopes.read(t)
        return t - 1, products(weights, here), d_c * kept.read(t), d_z.write(t, here)

    d_z = _empty(steps, recurrent.shape[1])
    *_, d_z = tf.while_loop(lambda t, *_: t >= 0, step, [steps - 1, end, end, d_z])
    return d_z.stack()


def _gates(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return i, g, f and o, [..., n, batch]."""
    units = z.shape[-2] // 4
    i, _, f, o = tf.split(tf.sigmoid(z), 4, axis=-2)
    return i, tf.tanh(z[..., units : 2 * units, :]), f, o


def _columns(sequence: tf.Tensor) -> tf.Tensor:
    """Return the rows of every time step as its columns."""
    return tf.transpose(sequence, [0, 2, 1])


def _shifted(states: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Return the state before each time step."""
    return tf.concat([start[None], states[:-1]], axis=0)


def _steps(sequence: tf.Tensor) -> tf.TensorArray:
    return _empty(tf.shape(sequence)[0], sequence.shape[1]).unstack(sequence)


def _empty(steps: tf.Tensor, rows: int) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, size=steps, element_shape=[rows, None])
