"""The Python API: what ``streamlic`` exports."""
