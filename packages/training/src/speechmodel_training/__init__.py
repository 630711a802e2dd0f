"""The trainer and exporter of DeepSpeech 0.9.3 compatible models, in TensorFlow 2 without Keras.

train.py and export.py are the stage programs. The rest, from the bottom up:

features.py      samples -> MFCC frames
lstm.py          the recurrent layer with its hand-written gradient
workers.py       the processes that train together
network.py       weights and the network's forward pass
learner.py       Adam, the training step, the named tensors of a checkpoint
dataset.py       the prepared dataset, checked
draws.py         random draws that a restart repeats
onset.py         where speech begins in a clip
augmentation/    changes of a clip in every epoch
schedule.py      the batches that an epoch has left, and their order
batches.py       clips -> padded tensors, made ahead of the network
epochs.py        the finished epochs, as training.csv lists them
chosen.py        the settings that were chosen for a lineage
state.py         the progress of a lineage
checkpoints.py   states and tensors on disk
ownership.py     one writer per lineage
saving.py        the moments of saving
trainer.py       epochs, steps, signals
graph.py         weights -> the graph that the runtime loads
coqui/           training by Coqui STT instead
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy makes features beside the network, in small products
# TensorFlow reads these while it is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # on every processor, not only on those with AVX-512 (decision 37)
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # a Keras that is not installed: the other would be imported too
