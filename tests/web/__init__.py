"""Tests of our HTTP face."""
