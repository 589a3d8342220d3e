"""The server: the same answers over HTTP, for the page in the browser and for other programs."""
