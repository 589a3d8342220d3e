"""Objects followed through a video: sources of frames, trackers, sessions and outputs."""
