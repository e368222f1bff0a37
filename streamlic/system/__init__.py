"""What the machine gives this process: memory, files, processors, signals."""
