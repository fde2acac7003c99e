"""Tests of :mod:`aiproxy.providers`."""
