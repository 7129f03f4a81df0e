"""A benchmark of this library against its alternatives, in turn on the same texts."""
