"""Between the network and the part files: pages queue up, decoded and encoded in threads."""
