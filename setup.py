"""Builds the two compiled modules with CMake and Ninja. Everything else about the package is in pyproject.toml.

pitcore.preprocess._core is C++ (csrc/). pitcore.actuation.schedule is Python, which Cython turns into C++ first. CMake
builds both, so that a cross compiler for one is a cross compiler for the other.

For another machine or Python than this one, ``tools/wheels`` sets these variables:
  PITCORE_CMAKE_ARGS      more arguments for CMake, such as a cross compiler
  PITCORE_PYTHON_INCLUDE  folders of that Python's headers, separated by semicolons
  SETUPTOOLS_EXT_SUFFIX   that Python's suffix of extension modules (setuptools reads it as well)
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path


def refuse_what_cannot_run() -> None:
    """End with a clear line on systems for which ONNX Runtime has no build."""
    if os.environ.get("PITCORE_PYTHON_INCLUDE"):
        return  # built for another machine than this one
    if sys.maxsize < 2**32 or platform.machine() not in {"x86_64", "aarch64"}:
        sys.exit(
            f"pitcore: {platform.machine()} with a {sys.maxsize.bit_length() + 1}-bit Python cannot run it: "
            "ONNX Runtime needs 64 bits, x86_64 or aarch64; on a Raspberry Pi install the 64-bit system"
        )
    if "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or ""):
        sys.exit("pitcore: this system uses musl (Alpine), for which ONNX Runtime has no build; use one with glibc")


refuse_what_cannot_run()

# What follows needs the build requirements, which such systems may not even have.
import pybind11  # noqa: E402
from setuptools import Extension, setup  # noqa: E402
from setuptools.command.build_ext import build_ext  # noqa: E402

ROOT = Path(__file__).resolve().parent


CORE, SCHEDULE = "pitcore.preprocess._core", "pitcore.actuation.schedule"


class CMakeBuild(build_ext):
    """Hands each extension to CMake, where it is the target of the same name."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        name = ext.name.rpartition(".")[2]
        build = Path(self.build_temp).resolve() / ext.name
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake",
            *("-S", str(ROOT), "-B", str(build), "-G", "Ninja"),
            f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}",  # a cached one may lie in an environment that is gone
            "-DCMAKE_BUILD_TYPE=Release",
            "-DPITCORE_PYTHON=ON",
            "-DPITCORE_WERROR=OFF",  # on in our own builds; an installation must not fail on a newer warning
            f"-DPITCORE_PYTHON_INCLUDE={python_include()}",
            f"-DPITCORE_MODULE_SUFFIX={target.name.removeprefix(name)}",
            f"-DPITCORE_SCHEDULE_SOURCE={translate(build) if ext.name == SCHEDULE else ''}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
            *shlex.split(os.environ.get("PITCORE_CMAKE_ARGS", "")),
        ]
        compile_module = ["cmake", "--build", str(build), "--target", name]
        for command in (configure, compile_module):
            subprocess.run(command, check=True)


def translate(folder: Path) -> Path:
    """Turn the schedule into C++ by Cython, in its pure-Python mode: the types are in schedule.pxd."""
    source = folder / "schedule.cpp"
    options = [
        "--cplus",
        "-3",
        "-X",
        "annotation_typing=False",
        "--module-name",
        SCHEDULE,
        "--output-file",
        str(source),
    ]
    subprocess.run([sys.executable, "-m", "cython", *options, "pitcore/actuation/schedule.py"], cwd=ROOT, check=True)
    return source


def python_include() -> str:
    """Return the folders of Python's headers; end with the fix where they are missing."""
    given = os.environ.get("PITCORE_PYTHON_INCLUDE")
    if given:
        return given
    folders = dict.fromkeys(sysconfig.get_path(name) for name in ("include", "platinclude"))
    if not any((Path(folder) / "Python.h").is_file() for folder in folders):
        sys.exit(f"pitcore: no Python.h in {', '.join(folders)}; install the headers (Debian: python3-dev), or a wheel")
    return ";".join(folders)


setup(ext_modules=[Extension(name, sources=[]) for name in (CORE, SCHEDULE)], cmdclass={"build_ext": CMakeBuild})
