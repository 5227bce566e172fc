"""Reports of a study: record, figures, PDF and HTML."""

from petitlab.namesakes import claim

claim()
