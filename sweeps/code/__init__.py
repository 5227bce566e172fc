"""The identity of the code that computes a cached stage, worked out from the source it reaches."""
