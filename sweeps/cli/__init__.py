"""Commands around a sweep other than launch and export."""
