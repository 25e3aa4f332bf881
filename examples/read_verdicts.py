"""Count the verdicts of a file, and list its pits and events.

    python examples/read_verdicts.py out/demo/verdicts.jsonl

docs/verdicts.md explains every field.
"""

import json
import sys
from collections import Counter
from pathlib import Path


def read(path):
    """Yield each whole line; the service may be writing the last one now."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def main(path):
    counts = Counter()
    for line in read(path):
        if line["schema"] == "pitcore.event/1":
            print(f"frame {line['seq']}: {line['event']}, {line['detail']}")
        elif line["schema"] == "pitcore.verdict/1":
            counts[line["verdict"]] += 1
            if line["verdict"] == "pit":
                x, y, width, height = line["box"]
                p_pit = line["probabilities"]["pit"]
                print(f"frame {line['frame']['seq']}: pit at {x + width // 2}, {y + height // 2}, p = {p_pit:.3f}")
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
