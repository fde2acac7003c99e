"""Tests of :mod:`aiproxy.gateway`."""
