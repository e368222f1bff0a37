"""Builds the compiled engine. Without a compiler the install succeeds without it.

With BUILD_FOR_STABLE_ABI set, one wheel works on Python 3.11 and every newer version.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DECODER = Path("streamlic/decoder")
STABLE_ABI = bool(os.environ.get("BUILD_FOR_STABLE_ABI"))

ENGINE = Extension(
    "streamlic.decoder._fast",
    sources=[str(DECODER / "_fast.pyx"), *sorted(map(str, DECODER.glob("core/**/*.cpp")))],
    depends=[str(DECODER / "_fast.pxd"), *sorted(map(str, DECODER.glob("core/**/*.h")))],
    include_dirs=[str(DECODER)],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if STABLE_ABI else [],
    language="c++",
    # Without tables of jumps: where they lead is harder to foresee than a few comparisons.
    extra_compile_args=[
        "-std=c++17",
        "-O3",
        "-fno-jump-tables",
        "-g0",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
    ],
)

(engine,) = cythonize([ENGINE], build_dir="build")
engine.optional = True  # cythonize() forgets this, and the next.
engine.py_limited_api = STABLE_ABI
setup(
    ext_modules=[engine],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
)
