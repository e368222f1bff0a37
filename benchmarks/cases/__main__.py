"""``python -m benchmarks.cases CASE``: the process of one case.

It loads of streamlic only what the case needs, so that it can measure an older streamlic.
"""

import json
import sys

from benchmarks.cases.worker import main

main(json.loads(sys.argv[1]))
