"""What built the models that ship and what checks a claim; it runs from a checkout and is in no wheel."""
