"""Implementations of the contestants, one file each; a worker imports only its own."""
