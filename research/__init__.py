"""What measures and builds the package, and is not part of it; it runs from a checkout."""
