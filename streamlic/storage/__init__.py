"""Where files live: a few durable operations that know nothing of tables."""
