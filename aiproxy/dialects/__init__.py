"""What providers and clients speak: pure conversions from and to OpenAI's JSON."""
