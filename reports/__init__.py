"""From the record of a study to its figures and its PDF."""

from petitlab.namesakes import claim

claim()
