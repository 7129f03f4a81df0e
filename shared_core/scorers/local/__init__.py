"""Scoring by a model in this process, through torch."""
