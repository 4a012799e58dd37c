"""Files that appear whole or not at all, signals, terminals, optional packages."""
