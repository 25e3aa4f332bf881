"""Packs a bundle into one file: a tar whose bytes depend only on the bundle's files.

Publisher and board make the same bytes from the same bundle, so a patch can be applied to the unpacked files of a slot.
Not compressed: patches of compressed files are as large as the files.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import BinaryIO

from pitcore.errors import BundleError
from pitcore.model_card import BUNDLE_FILES

MEMBERS = ("card.json", *sorted(BUNDLE_FILES))
MAX_BYTES = 512 * 1024 * 1024  # a float ResNet50 of 128 px has 94 MB


def pack(bundle: Path, out: BinaryIO) -> None:
    """Write the archive of a bundle: members in a fixed order, no owner, no time.

    Raises:
        BundleError: a file cannot be read.
    """
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in MEMBERS:
            try:
                content = (bundle / name).read_bytes()
            except OSError as error:
                raise BundleError(
                    f"{bundle / name}: {error.strerror}; the bundle is incomplete, copy it again"
                ) from error
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
