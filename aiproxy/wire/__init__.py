"""Formats on the wire: JSON, events, durations, sizes, URLs. Pure: no Twisted, no I/O."""
