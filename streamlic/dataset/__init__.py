"""Record batches to part files, and the commit log that names them."""
