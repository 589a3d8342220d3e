"""Disk to records and back: photos, videos, and sets of masks in the field's formats."""
