"""The configuration: its schema, and how files and environment become it. No Twisted."""
