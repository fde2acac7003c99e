"""Tests of the HTTP server beneath our routes."""
