"""Windows of long documents: where they begin and end, their tokens, and their scores."""
