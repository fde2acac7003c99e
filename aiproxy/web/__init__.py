"""Our HTTP face: routes, the guard before them, the answers they write."""
