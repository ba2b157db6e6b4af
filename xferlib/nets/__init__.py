"""The nets, one paper a file."""
