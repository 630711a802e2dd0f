"""TensorFlow's graph files, read and written without TensorFlow: `.pb` in, memory-mapped `.pbmm` out."""
