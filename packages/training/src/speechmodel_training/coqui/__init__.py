"""Training by coqui-stt-training 1.4.0 (`training.engine: CoquiSTT`), a program of Python 3.7 and TensorFlow 1.15.

stage.py        the stage: dataset -> epochs -> exported graph
flags.py        settings -> command lines
program.py      Coqui as a subprocess: its lines, its end, the reason of its failure
epochs.py       lines -> finished epochs, the best one, progress records
state.py        the progress of a lineage, and the checkpoints in its folder

Nothing here imports TensorFlow. docs/coqui.md tells what differs from our trainer.
"""
