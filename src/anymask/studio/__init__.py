"""Labelling: projects, review and rounds, the server and its page, CVAT, Label Studio."""
