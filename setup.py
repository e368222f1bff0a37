"""Builds the compiled engine. Without a compiler the install succeeds without it."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DECODER = Path("streamlic/decoder")

ENGINE = Extension(
    "streamlic.decoder._fast",
    sources=[str(DECODER / "_fast.pyx"), *sorted(map(str, DECODER.glob("core/**/*.cpp")))],
    depends=sorted(map(str, DECODER.glob("core/**/*.h"))),
    include_dirs=[str(DECODER)],
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
engine.optional = True  # cythonize() would have forgotten it.
setup(ext_modules=[engine])
