"""Several processes that share the listening sockets: a supervisor and its workers."""
