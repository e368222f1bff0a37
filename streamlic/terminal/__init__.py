"""What a person sees while a command runs: the live display, lines, the log."""
