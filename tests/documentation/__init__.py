"""Tests of what people read: every code block of the pages is run, and every link is followed."""
