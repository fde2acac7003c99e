"""Bad days upstream, and what the caller gets."""
