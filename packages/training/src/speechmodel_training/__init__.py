"""The trainer and exporter of DeepSpeech 0.9.3 compatible models, in TensorFlow 2 without Keras.

train.py and export.py are the stage programs; the rest reads from the bottom up:

audio.py         the frame of numbers that training and the runtime share
features.py      a clip -> MFCC frames
lstm.py          the recurrent layer with its hand-written gradient
network.py       weights and the network's forward pass
learner.py       Adam, the training step, the 40 named tensors of a checkpoint
dataset.py       what prepare left, checked
schedule.py      which clips an epoch has left, in which order
batches.py       clips -> padded tensors, one batch ahead
state.py         where training stands
checkpoints.py   states and tensors on disk
ownership.py     one writer per lineage
saving.py        when to save
trainer.py       epochs, steps, signals
graph.py         weights -> the graph that the runtime loads
"""

import os

from speechmodel_stagekit.early import end_on_sigterm

end_on_sigterm()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read by TensorFlow's C++ part while it is imported
