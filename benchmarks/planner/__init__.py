"""Plans and placements next to published figures and other allocators."""
