"""The command line: words in, a function of the package called, an exit code out."""
