"""Tests of :mod:`aiproxy.workers`."""
