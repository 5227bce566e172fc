"""TensorFlow as this project uses it: Keras 2 (tfmot knows no other), quiet, imported in one place."""

from __future__ import annotations

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # before the first import of tensorflow
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow takes oneDNN's kernels by itself on some processors only; a training step is 1.5 times as fast with them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import tensorflow as tf
import tf_keras as keras

__all__ = ["keras", "tf"]
