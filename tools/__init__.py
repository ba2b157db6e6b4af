"""The book's commands, as the Makefile calls them."""
