"""The worker's side: the cases that are measured, a module for each kind of work."""
