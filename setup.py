"""Builds pitcore.preprocess._core with CMake and Ninja. Everything else about the package is in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Hands the one extension to CMake."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = Path(self.build_temp).resolve() / ext.name
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake",
            *("-S", str(ROOT), "-B", str(build), "-G", "Ninja"),
            "-DCMAKE_BUILD_TYPE=Release",
            "-DPITCORE_PYTHON=ON",
            "-DPITCORE_WERROR=OFF",  # on in our own builds; an installation must not fail on a newer warning
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
        ]
        compile_module = ["cmake", "--build", str(build), "--target", "_core"]
        for command in (configure, compile_module):
            subprocess.run(command, check=True)


setup(ext_modules=[Extension("pitcore.preprocess._core", sources=[])], cmdclass={"build_ext": CMakeBuild})
