"""The bench: this library and what people would use instead, measured in turn on the same texts."""
