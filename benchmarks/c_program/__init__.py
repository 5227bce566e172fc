"""Memory, time and stack of emitted C programs."""
