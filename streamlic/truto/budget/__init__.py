"""Who may send the next request of a token, where several clients or processes use it."""
