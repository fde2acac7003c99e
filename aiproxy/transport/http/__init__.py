"""HTTP, over llhttp or Twisted's own parts: the server beneath our routes, and the client."""
