"""The identity of the code of a cached stage, derived from the source that it reaches."""
