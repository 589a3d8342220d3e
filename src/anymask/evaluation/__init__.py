"""Measure: metrics, protocols, baselines, reports."""
