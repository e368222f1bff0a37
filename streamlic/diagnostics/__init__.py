"""Whether a run would succeed: the checks of ``streamlic doctor``."""
