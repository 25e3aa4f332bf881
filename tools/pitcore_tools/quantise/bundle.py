"""Makes a model bundle of a graph: calibrates probabilities, sets thresholds, tests, packs.

All choices are made without the held-out fold, except the calibration of probabilities and the thresholds, which need
crops on which the net was not trained; the bundle says so. With ``evidence`` both come from the five nets of the
recipe, each on the fold that it never saw, and the held-out fold of the net that ships is only a test.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import shutil
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import yaml

from pitcore.durable import replace_file, sync_directory, trusted
from pitcore.emulator.single import render_crop
from pitcore.errors import DataError
from pitcore.model_card import BUNDLE_FILES, SCHEMA, ProbabilityCalibration, Reference, decode_card, load_bundle
from pitcore.preprocess.prepare import crop_from_image
from pitcore_tools.evaluate import figures, report
from pitcore_tools.evaluate.logits import HeldOut
from pitcore_tools.export.graph import OPSET
from pitcore_tools.export.subnormal import float_tensors
from pitcore_tools.networks.finite import refuse_not_finite
from pitcore_tools.quantise.graph import Graph, Run
from pitcore_tools.thresholds.card_reference import held_out_text, reference_of
from pitcore_tools.thresholds.points import calibration, card_points, nets_text
from pitcore_tools.thresholds.provenance import check_evidence, check_own
from pitcore_tools.train.recipe import Recipe, recipe_yaml

GOLDEN_SEED, GOLDEN_CROPS = 20261123, 32
ONNXRUNTIME_MIN = "1.22"  # the oldest version that runs on both boards; 1.21 crashes on a Pi 4


def write_bundle(folder: Path, trained: Run, graph: Graph, held_out: HeldOut, evidence: HeldOut | None = None) -> None:
    """Write a bundle atomically.

    Args:
        folder: folder of the bundle; replaced if it exists.
        trained: the training run.
        graph: the net to ship.
        held_out: its logits on held-out crops.
        evidence: held-out logits of the nets of all folds of its recipe; if given, calibration and thresholds use all
            of them.

    Raises:
        DataError: a weight or a held-out logit is NaN or infinite, the network contradicts the labels, or the evidence
            lacks folds or is of other nets.
    """
    if evidence is not None:
        check_evidence(held_out, trained.recipe.folds, evidence)
    refuse_not_finite("the graph", [*float_tensors(graph.model), ("logits of held-out crops", held_out.margins)])
    if figures.fit_platt(held_out.labels, held_out.margins)[0] <= 0:
        raise DataError(
            "on held-out crops the network calls clean cherries pits and pits clean; are its labels in another order?"
        )
    slope, intercept = calibration(held_out, evidence)
    probabilities = figures.platt(held_out.margins, slope, intercept)
    points = card_points(held_out, probabilities, evidence)
    fold = trained.recipe.held_out_fold
    reference = reference_of(trained.pictures, probabilities, trained.recipe.planes, held_out_text(trained.recipe))
    said = figures.pit_margins(graph.logits(trained.training.pixels), trained.recipe.labels)
    training = figures.confusion(trained.training.labels, said)
    content = {
        "model.onnx": graph.model.SerializeToString(),
        "config.yaml": recipe_yaml(trained.recipe).encode(),
        "golden.npz": golden_vectors(trained.recipe, graph),
        "calibration.json": _json(_calibration_facts((slope, intercept), held_out, evidence)),
        "metrics.json": _json(
            {
                "split": {
                    "by": "crop_hash",
                    "folds": trained.recipe.folds,
                    "held_out_fold": fold,
                },
                "held_out": report.summary(held_out),
                "training": {"crops": len(trained.training), "accuracy": training.shares["accuracy"].value},
                "quantisation": {
                    "method": graph.method,
                    "mean_margin_error": graph.errors,
                    "operators": dict(graph.operators.most_common()),
                },
                "points": {name: msgspec.to_builtins(point) for name, point in points.items()},
            }
        ),
    }
    assert set(content) == set(BUNDLE_FILES), "the card names exactly these files"  # noqa: S101
    recipe, planes = trained.recipe, len(trained.recipe.planes)
    card = {
        "schema": SCHEMA,
        "name": recipe.name,
        "version": recipe.version,
        "planes": recipe.planes,
        "crop_size_px": recipe.crop_size_px,
        "resize": recipe.resize,
        "layout": graph.layout,
        "dtype": graph.dtype,
        "scale": [1.0] * planes,
        "offset": [0.0] * planes,
        "labels": recipe.labels,
        "calibration": {"method": "platt", "slope": slope, "intercept": intercept},
        "points": {name: msgspec.to_builtins(point) for name, point in points.items()},
        "reference": msgspec.to_builtins(reference),
        "files": {name: hashlib.sha256(raw).hexdigest() for name, raw in content.items()},
        "runtime": {"onnxruntime_min": ONNXRUNTIME_MIN, "opset": OPSET},
    }
    raw_card = _json(card)
    decode_card(raw_card, "card.json")
    _replace_folder(folder, {**content, "card.json": raw_card})


def rewrite_points(folder: Path, held_out: HeldOut, evidence: HeldOut | None, version: str) -> None:
    """Replace operating points, their calibration and the version of a bundle; the network stays.

    Points are probabilities, so they hold only with the calibration for which they were chosen. The edges of the card's
    reference are converted to the new calibration, so that the same crops stay in each bin.

    Args:
        folder: folder of the bundle.
        held_out: the logits of its net on held-out crops.
        evidence: held-out logits of the nets of all folds of its recipe, or None.
        version: the new version.

    Raises:
        BundleError, CardError: the folder is not a valid bundle, or the new card is invalid.
        DataError: the logits are of another net, or the evidence lacks folds or is of other nets.
    """
    folds = check_own(folder, held_out)
    if evidence is not None:
        check_evidence(held_out, folds, evidence)
    card = load_bundle(folder).card
    fitted = ProbabilityCalibration("platt", *calibration(held_out, evidence))
    points = card_points(held_out, figures.platt(held_out.margins, fitted.slope, fitted.intercept), evidence)
    metrics = json.loads((folder / "metrics.json").read_bytes())
    metrics.pop("thresholds", None)
    files = {
        "calibration.json": _json(_calibration_facts((fitted.slope, fitted.intercept), held_out, evidence)),
        "metrics.json": _json({**metrics, "points": msgspec.to_builtins(points)}),
    }
    reference = None if card.reference is None else _converted(card.reference, card.calibration, fitted)
    rewrite_card(folder, version, files, calibration=fitted, points=points, reference=reference)


def _converted(reference: Reference, before: ProbabilityCalibration, now: ProbabilityCalibration) -> Reference:
    """Return a reference whose edges of probabilities are those of another calibration."""
    figure = reference.figures["pit_probability"]
    edges = np.clip(figure.edges, 1e-12, 1.0 - 1e-12)
    margins = (np.log(edges / (1.0 - edges)) - before.intercept) / before.slope
    moved = figures.platt(margins, now.slope, now.intercept).round(9).tolist()
    new = msgspec.structs.replace(figure, edges=moved)
    return msgspec.structs.replace(reference, figures={**reference.figures, "pit_probability": new})


def rewrite_card(folder: Path, version: str, files: dict[str, bytes] | None = None, **changes: object) -> None:
    """Change the card and the version of a bundle; the network and its calibration stay.

    Args:
        folder: folder of the bundle.
        version: the new version.
        files: other files of the bundle to replace, by name.
        changes: new values of fields of the card.

    Raises:
        BundleError, CardError: the folder is not a valid bundle, or the new card is invalid.
    """
    bundle = load_bundle(folder)
    content = {name: (folder / name).read_bytes() for name in BUNDLE_FILES} | (files or {})
    recipe = yaml.safe_load(content["config.yaml"])
    content["config.yaml"] = yaml.safe_dump({**recipe, "version": version}, sort_keys=False).encode()
    card = msgspec.to_builtins(bundle.card) | {
        "version": version,
        **msgspec.to_builtins(changes),
        "files": {name: hashlib.sha256(raw).hexdigest() for name, raw in content.items()},
    }
    raw_card = _json({"schema": card.pop("schema"), **card})
    decode_card(raw_card, "card.json")
    _replace_folder(folder, {**content, "card.json": raw_card})


def golden_vectors(recipe: Recipe, graph: Graph) -> bytes:
    """Return ``golden.npz``: procedural crops, never real ones, and the logits of this machine for them."""
    spec = recipe.spec
    crops = np.stack([crop_from_image(render_crop(GOLDEN_SEED, index)[0], spec) for index in range(GOLDEN_CROPS)])
    file, logits = io.BytesIO(), graph.logits(crops)
    refuse_not_finite("the graph", [("logits of golden crops", logits)])
    np.savez_compressed(file, crops=graph.as_input(crops), logits=logits)
    return file.getvalue()


def _calibration_facts(fitted: tuple[float, float], held_out: HeldOut, evidence: HeldOut | None) -> dict[str, Any]:
    basis = held_out if evidence is None else evidence
    if evidence is None:
        by, part = "the net that ships", "half of the held-out crops, by hash,"
    else:
        by, part = f"{nets_text(evidence)} of this recipe", "fold"
    return {
        "method": "platt",
        "slope": fitted[0],
        "intercept": fitted[1],
        "fitted_on": f"the margins of all {len(basis.labels)} held-out crops, by {by}",
        "ece": report.summary(basis)["ece_int8" if basis.has_int8 else "ece_float"],
        "ece_how": f"each {part} scored with a calibration fitted on the others",
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _write(raw: bytes, file: BinaryIO) -> None:
    file.write(raw)


def check_replaceable(folder: Path) -> None:
    """Raise DataError if a folder contains files that do not belong to a bundle."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file; name a folder for the bundle")
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    strange = sorted(held - {*BUNDLE_FILES, "card.json"})
    if strange:
        raise DataError(
            f"{folder}: holds {', '.join(strange[:3])}, so it is no bundle and is not replaced; name another folder"
        )


def _replace_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files beside the folder, then swap names.

    A kill between the two renames leaves the old bundle beside its place under a hidden name (``.NAME.old``) and the
    new one as ``.NAME.part``. Nothing is deleted before the new one is in its place.

    Raises:
        DataError, OSError: the folder is unchanged; or, if only the parent could not be synced, the new bundle is in
            place, and the old one beside it.
    """
    folder = trusted(folder)
    check_replaceable(folder)
    mark = f".{folder.name}.{secrets.token_hex(8)}"
    fresh, old = folder.with_name(f"{mark}.part"), folder.with_name(f"{mark}.old")
    fresh.mkdir(parents=True)
    try:
        for name, raw in files.items():
            replace_file(fresh / name, partial(_write, raw))
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        sync_directory(folder.parent)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)  # if this fails too, old and new stay beside the place
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
