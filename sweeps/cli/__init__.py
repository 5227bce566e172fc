"""The commands other than launch and export."""
