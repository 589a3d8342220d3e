"""Findings of the Segment Anything paper, tested with small models (`research.paper claims`)."""
