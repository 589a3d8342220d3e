"""Following objects through a video: sources of frames, trackers, sessions, what is written."""
