"""Sockets, timers and backpressure."""
