"""Python's face: what ``streamlic`` hands on."""
