"""The end of a study: final results and summary; and the export of one of its networks."""
