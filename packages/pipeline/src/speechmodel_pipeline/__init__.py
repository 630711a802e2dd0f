"""The stage programs that need no TensorFlow: prepare, convert, evaluate, publish, fetch and purge.

Each is run by `python -m speechmodel_pipeline.<stage>`. They share the modules beside them and do
not import each other.
"""
