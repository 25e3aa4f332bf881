"""Tests which systems an installation refuses. A 32-bit Python under qemu-arm gave the same lines; see docs/arm.md."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

AS_IF = """
import os, platform, runpy, sys, sysconfig
{change}
sys.argv = ["setup.py", "--name"]
namespace = runpy.run_path("setup.py")
{then}
"""


def set_up(change, then=""):
    code = AS_IF.format(change=change, then=then)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("platform.machine = lambda: 'armv7l'", "armv7l with a 64-bit Python cannot run it"),
        ("sys.maxsize = 2**31 - 1", "with a 32-bit Python cannot run it"),
        ("sysconfig.get_config_vars()['HOST_GNU_TYPE'] = 'aarch64-alpine-linux-musl'", "uses musl (Alpine)"),
    ],
)
def test_a_system_without_onnx_runtime_is_refused_in_one_line(change, why):
    done = set_up(change)
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_headers_are_named_with_the_package_to_install():
    done = set_up("sysconfig.get_path = lambda name: '/nowhere'", "print(namespace['python_include']())")
    assert done.returncode == 1
    assert "no Python.h in /nowhere; install the headers (Debian: python3-dev), or a wheel" in done.stderr


def test_this_system_is_accepted():
    done = set_up("")
    assert (done.returncode, done.stdout.split()) == (0, ["pitcore"])
