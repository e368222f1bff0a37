"""moto's server, made quick: ``python -P moto_server.py -H 127.0.0.1 -p PORT``.

It looks whether an object exists, and then writes it: two writers may both create it. So its
threads only change when one waits.
"""

from __future__ import annotations

import logging
import sys
from functools import cache

from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import main


def _serve() -> None:
    sys.setswitchinterval(60)
    # By itself it lists its own directory, and writes a line, for each request: half of its time.
    find: object = cache(DomainDispatcherApplication.get_backend_for_host)
    DomainDispatcherApplication.get_backend_for_host = find  # type: ignore[method-assign,assignment]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    main()


if __name__ == "__main__":
    _serve()
