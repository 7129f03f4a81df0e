"""Backends that turn texts into margins. Import the one you need; each has its own dependencies."""
