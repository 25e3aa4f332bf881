"""How long a test waits for what must come."""

PATIENCE_S = 900.0  # a child of low priority may need minutes for its imports, on a slow and busy machine
