"""Reads the checkpoints that people have: where they are, what they hold, one tensor at a time."""
