"""Tests of whole servers on real sockets."""
