"""The gradient of a score at the pixels, what is made of it, and how it is compensated."""
