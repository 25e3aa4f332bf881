"""Computes the possible states of a disk after a power cut, for a file system with weak guarantees.

Content is safe after ``sync`` of the file, a name after ``sync directory`` of its directory; a rename is atomic. What
is not safe yet may have reached the disk or not, each operation by itself, in any order; of a write whose neighbours
arrived without it, zeros are left. ``sync`` of a file does not save its name, nor the other way about.
Source: T. S. Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014; POSIX fsync(2).
"""

import random
from dataclasses import dataclass, field

from pitcore.ota.disk import Operation

SYNCS = {"sync", "sync directory"}
RANDOM_IMAGES = 6  # at each moment, beside those that lack or have a single operation


@dataclass
class Node:
    """A file, with the pieces of its content; or a directory, with its names."""

    pieces: list = field(default_factory=list)
    names: dict | None = None


class Volume:
    """A tree of nodes below a root directory, by the path from there."""

    def __init__(self, tree):
        self.root = Node(names={})
        for path, content in sorted(tree.items()):
            parent = self._node(path[:-1])
            parent.names[path[-1]] = Node(names={}) if content is None else Node([content])

    def _node(self, path):
        node = self.root
        for name in path:
            node = node.names[name]
        return node

    def apply(self, operation, path, target, lost):
        """Apply what reached the disk; what needs something that did not is lost with it."""
        try:
            parent = self._node(path[:-1])
            if operation.kind == "create":
                node = parent.names.setdefault(path[-1], Node())
                node.pieces = []
            elif operation.kind == "write":
                parent.names[path[-1]].pieces.append(bytes(len(operation.content)) if lost else operation.content)
            elif operation.kind == "mkdir":
                parent.names.setdefault(path[-1], Node(names={}))
            elif operation.kind == "rename":
                node = parent.names[path[-1]]
                self._node(target[:-1]).names[target[-1]] = node
                del parent.names[path[-1]]
            elif operation.kind == "unlink" or (operation.kind == "rmdir" and not parent.names[path[-1]].names):
                del parent.names[path[-1]]
        except (KeyError, TypeError, AttributeError):
            pass

    def image(self):
        """Content of every file by its path, None for a directory: an image that can be compared."""
        found = {}

        def walk(node, path):
            for name, child in node.names.items():
                here = (*path, name)
                if child.names is None:
                    found[here] = b"".join(child.pieces)
                else:
                    found[here] = None
                    walk(child, here)

        walk(self.root, ())
        return frozenset(found.items())


class Recorded:
    """Operations with notes between, on a tree.

    Args:
        tree: content by path from the root, None for a directory; all of it safe.
        root: of the paths in the operations.
        done: operations and notes, in order.
    """

    def __init__(self, tree, root, done):
        self._tree, self._root, self._done = tree, root, done

    def without(self, index):
        """Return the same operations without one of the fsyncs."""
        assert self._done[index].kind in SYNCS
        return Recorded(self._tree, self._root, [entry for at, entry in enumerate(self._done) if at != index])

    @property
    def syncs(self):
        """Index of every fsync."""
        return [at for at, entry in enumerate(self._done) if isinstance(entry, Operation) and entry.kind in SYNCS]

    def entry(self, index):
        return self._done[index]

    def moments(self):
        """Yield, for each moment: the operations that are over, those of them not safe yet, and the notes so far."""
        over, pending, notes = [], [], []
        for entry in self._done:
            if not isinstance(entry, Operation):
                notes.append(entry)
                continue
            if entry.kind == "sync":
                pending = [at for at in pending if over[at].kind != "write" or over[at].path != entry.path]
            elif entry.kind == "sync directory":
                pending = [at for at in pending if not _names_in(over[at], entry.path)]
            else:
                over.append(entry)
                pending.append(len(over) - 1)
            yield list(over), list(pending), list(notes)
        yield over, pending, notes  # long after the last of them

    def images(self):
        """Yield every image that is tried, with the notes that were promised by then; equal ones once."""
        seen = set()
        for over, pending, notes in self.moments():
            for arrived in _choices(pending):
                key = (image := self._image(over, set(pending) - arrived), tuple(notes))
                if key not in seen:
                    seen.add(key)
                    yield image, notes

    def _image(self, over, missing):
        volume, missing = Volume(self._tree), missing - _moved(over, missing)
        for at, operation in enumerate(over):
            path = operation.path.relative_to(self._root).parts
            target = operation.target.relative_to(self._root).parts if operation.target else None
            if at not in missing:
                volume.apply(operation, path, target, lost=False)
            elif operation.kind == "write" and any(
                later not in missing and over[later].kind == "write" and over[later].path == operation.path
                for later in range(at + 1, len(over))
            ):
                volume.apply(operation, path, target, lost=True)
        return volume.image()


def _moved(over, missing):
    """Operations that created a file or directory that a completed rename moved: these cannot be missing."""
    found = set()
    for at, rename in enumerate(over):
        if rename.kind == "rename" and at not in missing:
            made = [n for n in range(at) if over[n].path == rename.path and over[n].kind in {"create", "mkdir"}]
            found.update(made[-1:])
    return found


def _names_in(operation, directory):
    """Return whether an operation changes names in a directory."""
    if operation.kind == "write":
        return False
    return (operation.target or operation.path).parent == directory


def _choices(pending):
    """Sets of those that arrived: none, all, all but one, one alone, and some at random."""
    whole = set(pending)
    yield set()
    yield whole
    for at in pending:
        yield whole - {at}
        yield {at}
    draw = random.Random(len(pending))  # noqa: S311  the same images on every run
    for _ in range(RANDOM_IMAGES if len(pending) > 2 else 0):
        yield {at for at in pending if draw.random() < 0.5}


def tree_of(root):
    """A directory as ``Volume`` takes it."""
    return {
        path.relative_to(root).parts: path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


def write_image(image, root):
    """Write an image to a real disk."""
    for path, content in sorted(image, key=lambda entry: len(entry[0])):
        place = root.joinpath(*path)
        if content is None:
            place.mkdir(exist_ok=True)
        else:
            place.write_bytes(content)
