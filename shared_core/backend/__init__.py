"""The backend of a reranker: made once, shared by threads and event loops, closed at the end."""
