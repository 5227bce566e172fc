"""The end of a study: final results, summary, and the export of one of its networks."""
