"""The module that ``import libcamera`` loads in a program that a test starts with this folder on its path."""

from tests.camera.board import libcamera_module

globals().update(vars(libcamera_module()))
