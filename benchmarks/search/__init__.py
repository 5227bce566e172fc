"""The search engine: overhead, throughput, samplers, and how busy the cores are."""
