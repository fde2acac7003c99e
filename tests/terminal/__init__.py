"""Tests of the commands for a terminal."""
