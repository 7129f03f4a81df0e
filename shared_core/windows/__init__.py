"""Long documents by windows: where they are cut, how that is measured, what comes of it."""
