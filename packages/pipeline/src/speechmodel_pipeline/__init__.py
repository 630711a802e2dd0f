"""The stage programs that need no TensorFlow: prepare, convert, evaluate, publish, fetch and purge.

Each is run by `python -m speechmodel_pipeline.<stage>`. They share the modules beside them and do
not import each other.
"""

import os

# The products of NumPy are small, and several clips are decoded at once: more threads of OpenBLAS would wait for each
# other, on processors that others need. It reads this while NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
