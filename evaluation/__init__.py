"""The measurements of petitlab: accuracy, memory plans, and the integer reference. Nothing here uses TensorFlow."""

from petitlab.namesakes import claim

claim()
