"""Tests of what providers and clients speak."""
