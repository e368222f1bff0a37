"""What a row is: the types of its columns, and how JSON values become theirs."""
