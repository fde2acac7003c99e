"""Tests of the formats on the wire."""
