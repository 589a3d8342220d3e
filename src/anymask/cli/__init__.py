"""The command line: one module a command, wired by `main`."""
