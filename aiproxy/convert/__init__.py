"""From other proxies' configurations to ours."""
