"""What recorded traffic has taught, as small samples of our own."""
