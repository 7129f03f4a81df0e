"""Images: contents of texts and images, and how images are fetched, read and checked."""
