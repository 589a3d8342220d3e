"""How long a test waits for what must come; one that passes never waits so long."""

PATIENCE_S = 300  # a busy machine takes ten times as long as a quiet one
