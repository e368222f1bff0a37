"""A row: the types of its columns, and the conversion of JSON values to them."""
