"""How petitlab measures: accuracy, memory plans, and the integer reference. No TensorFlow below this line."""

from petitlab.namesakes import claim

claim()
