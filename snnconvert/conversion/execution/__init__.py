"""Programs executed, node by node."""
