"""Reading and writing data: photos, videos and annotation formats in, records out, and back."""
