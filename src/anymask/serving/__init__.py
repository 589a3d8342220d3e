"""The HTTP server: photos and prompts as requests in, masks as answers out; pages for browsers."""
