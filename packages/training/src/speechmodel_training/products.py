"""Products of matrices in the precision of training.

In bfloat16, the factors and the result of each product are rounded to 8 significant bits; the kernel accumulates in
float32. Weights, Adam's moments, averages, losses and everything that is not a product stay in float32, and so do the
output layer and the measurement of dev clips.
"""

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Products:
    """Computes products of float32 matrices with factors of the type `factors`."""

    factors: tf.DType

    def factor(self, matrix: tf.Tensor) -> tf.Tensor:
        """Return a matrix as a factor. A loop calls this once for a matrix that it uses in every step."""
        return tf.cast(matrix, self.factors)

    def __call__(self, left: tf.Tensor, right: tf.Tensor, *, transpose_left: bool = False) -> tf.Tensor:
        """Return the product as float32. Factors may be rounded already."""
        product = tf.matmul(self.factor(left), self.factor(right), transpose_a=transpose_left)
        return tf.cast(product, tf.float32)


FLOAT32 = Products(tf.float32)
BFLOAT16 = Products(tf.bfloat16)
