"""The decisions that the operator and the `speechmodel` command share: from an observed SpeechModel to a plan.

Pure: no clock, no network and no file. `reconcile.py` shows how an engine uses it.
"""
