"""One call through the gateway: plan, attempt, recover, account."""
