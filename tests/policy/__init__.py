"""Tests of :mod:`aiproxy.policy`."""
