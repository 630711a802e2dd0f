"""TensorFlow's graph files without TensorFlow: `.pb` is read, memory-mapped `.pbmm` is written."""
