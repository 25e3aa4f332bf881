"""Reads files of torch.save, tensors only; errors say how to save a checkpoint that can be read.

For a refused file torch advises to load it with ``weights_only=False``, which runs any code in the file. That advice is
never shown.
"""

from __future__ import annotations

import io
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pitcore.durable import replace_file
from pitcore.errors import DataError, first_line
from pitcore_tools.networks.finite import refuse_not_finite

HOW_TO_SAVE = 'save it where it was trained with torch.save(model.state_dict(), "weights.pt")'
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "model_ema")  # keys of the state dict in other programs
# Prefixes of names from wrappers: DataParallel and SWA, torch.compile, Lightning and others.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
_COUNTERS = {"n_averaged"}  # counters of SWA, which are not weights
_LFS = b"version https://git-lfs"


def load_tensors(path: Path, device: torch.device | str = "cpu", ours: str | None = None) -> Any:  # noqa: ANN401  whatever was saved
    """Read a file of torch.save with tensors, numbers, texts, lists and dictionaries.

    Args:
        path: path of the file.
        device: device of the tensors.
        ours: message for a file that pitcore-tools wrote and that cannot be used.

    Raises:
        DataError: the file cannot be read, is not a file of torch.save, or contains other objects.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(len(_LFS))
        if begin == _LFS:
            raise DataError(f"{path}: only a pointer of git LFS; fetch the file with `git lfs pull`")
        return torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; give a checkpoint (.pt, .pth)") from error
    except (RuntimeError, EOFError, ValueError, IndexError, pickle.UnpicklingError) as error:
        if ours is not None:
            raise DataError(f"{path}: {ours}") from error
        if begin[:4] != b"PK\x03\x04" and begin[:1] != b"\x80":  # neither a zip nor a pickle of an old version of torch
            raise DataError(f"{path}: not a checkpoint of torch; {HOW_TO_SAVE}") from error
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
            raise DataError(
                f"{path}: contains more than tensors and numbers (a whole model, NumPy scalars ...); {HOW_TO_SAVE}"
            ) from error
        raise DataError(f"{path}: not a checkpoint of torch: {first_line(error)}; copy it again") from error


def save_weights(path: Path, content: Any) -> None:  # noqa: ANN401  whatever torch can save
    """Write a checkpoint atomically. Raises OSError.

    It is serialised in memory first, because torch's error for a full disk does not mention the disk.
    """
    packed = io.BytesIO()
    torch.save(content, packed)
    replace_file(path, lambda file: file.write(packed.getbuffer()))


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict, bare or inside a checkpoint, and remove wrappers' prefixes from the names.

    Raises:
        DataError: it cannot be read, or contains no tensors, several networks, NaN or infinity.
    """
    content = load_tensors(path)
    for key in _INSIDE:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"{path}: contains no state dict of tensors; {HOW_TO_SAVE}")
    names = {name: _unwrapped(str(name)) for name in content if name not in _COUNTERS}
    if twice := [name for name, number in Counter(names.values()).items() if number > 1]:
        wrapped = ", ".join(name for name, bare in names.items() if bare == twice[0])
        raise DataError(f"{path}: contains several networks ({wrapped}); {HOW_TO_SAVE} of the one you want")
    refuse_not_finite(path, content.items(), "give a checkpoint from before the training diverged")
    return {bare: content[name] for name, bare in names.items()}


def _unwrapped(name: str) -> str:
    """Return a tensor's name without wrappers' prefixes, in any order."""
    while (prefix := next((prefix for prefix in _WRAPPERS if name.startswith(prefix)), None)) is not None:
        name = name.removeprefix(prefix)
    return name
