"""What holds for all tests: they speak to servers on this machine, and to no proxy before them."""

from __future__ import annotations

import os

for _name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(_name, None)
    os.environ.pop(_name.upper(), None)
