"""Adapters: an endpoint, a dialect and credentials make a Deferred-returning provider."""
