"""Training of a network, from scratch or from a checkpoint: `python -m deeplab.train CONFIG.yaml`.

Every batch is a pure function of (seed, step), so a training that was killed and resumed sees the same images.
"""
