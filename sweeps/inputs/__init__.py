"""Network and images of a study: opened, checked, and identified by content."""
