"""Images: pixels, pictures, and what is written."""
