"""What people use at a terminal: a chat, the models, a probe of every upstream, a load test."""
