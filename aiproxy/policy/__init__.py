"""Decisions: who may ask, where a request goes, what a failure means. Pure."""
