"""The network: DeepLab v3 and v3+ on MobileNetV2, and how it is trained, imported, pruned and quantized."""

from petitlab.namesakes import claim

claim()
