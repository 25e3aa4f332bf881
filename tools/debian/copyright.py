"""Prints debian/copyright for a folder of installed wheels: pitcore, and each module that it includes."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions

HEAD = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pitcore
Comment: The Python modules that pitcore needs lie in /usr/lib/pitcore as their wheels
 have them; the full text of each licence is beside them in *.dist-info.

Files: *
Copyright: pitcore developers
License: Apache-2.0
"""
TEXT = """
License: Apache-2.0
 On Debian systems the full text of the Apache License 2.0 is in
 /usr/share/common-licenses/Apache-2.0.
"""


def licence_of(distribution: Distribution) -> str:
    """Return the licence a wheel states, in one line."""
    data = distribution.metadata
    stated = data["License-Expression"] or (data["License"] or "").strip().splitlines()[:1]
    if isinstance(stated, list):
        stated = stated[0] if stated else ""
    classifiers = [text.rsplit(" :: ", 1)[1] for text in data.get_all("Classifier") or [] if text.startswith("License")]
    return stated if stated and len(stated) < 60 else ", ".join(classifiers) or "see its dist-info"


def main() -> None:
    """Write it to standard output."""
    parts = [HEAD]
    for found in sorted(distributions(path=[sys.argv[1]]), key=lambda one: one.metadata["Name"].lower()):
        name, data = found.metadata["Name"], found.metadata
        if name != "pitcore":
            holder = data["Author"] or data["Author-email"] or f"the authors of {name}"
            parts.append(
                f"\nFiles: usr/lib/pitcore/{name.replace('-', '_')}*\nCopyright: {holder}\n"
                f"License: {name}-licence\n {name} {found.version}: {licence_of(found)}\n"
            )
    sys.stdout.write("".join([*parts, TEXT]))


if __name__ == "__main__":
    main()
