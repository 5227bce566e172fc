"""One trial: from a candidate to its measurement, in a worker process."""
