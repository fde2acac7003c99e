"""Tests of :mod:`aiproxy.providers.chaos`, module by module."""
