"""Reading pictures of any kind: paths, addresses, arrays, stacks, bands and channels."""
