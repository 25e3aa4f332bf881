"""Judge every crop picture (PNG) of a folder with the bundled model, or with the model bundle given.

    python examples/judge_folder.py crops/ [out/bundle]

`pitcore classify crops/ --point balanced --json` does the same from a terminal.
"""

import sys
from pathlib import Path

from pitcore.camera.folders import walk
from pitcore.loop.classifier import Classifier
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle


def main(folder, bundle=DEFAULT_BUNDLE):
    classifier = Classifier(load_bundle(Path(bundle)), point="balanced")  # as the boards' files; the default is strict
    walked = walk(Path(folder))
    if walked.passed_over:
        print(walked, file=sys.stderr)
    for found in classifier.classify([str(path) for path in walked.pictures]):
        if found.error:
            print(f"{found.path}: {found.error}")
        else:
            print(f"{found.path}: {found.verdict}, p(pit) = {found.p_pit:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
