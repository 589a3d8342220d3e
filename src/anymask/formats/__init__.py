"""Annotation files and published data sets: reading, writing, converting, with loss reports."""
