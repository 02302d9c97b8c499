"""The commands of the command line, a module each, so that a command loads only what it runs."""
