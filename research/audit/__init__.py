"""How well the audit finds wrong masks: see `python -m research.audit`."""
