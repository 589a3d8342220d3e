"""What built the models that ship and what checks a claim: from a checkout, in no wheel."""
