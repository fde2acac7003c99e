"""The HTTP server beneath our routes."""
