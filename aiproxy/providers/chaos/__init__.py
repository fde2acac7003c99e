"""An upstream that misbehaves as it is told to, for tests and for drills."""
