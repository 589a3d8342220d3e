"""Measuring models, auditing masks and describing data sets, with one writer of reports."""
