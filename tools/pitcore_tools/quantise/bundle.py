"""From a training run to a model bundle: export, quantise, calibrate, prove, pack.

What is chosen is chosen without the held-out fold, but for the calibration of probabilities and the thresholds, which
need crops the net was not trained on; the bundle says so.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from pitcore.camera.single import render_crop
from pitcore.durable import replace_file, sync_directory
from pitcore.errors import BundleError, DataError
from pitcore.model_card import BUNDLE_FILES, decode_card
from pitcore.preprocess.prepare import crop_from_image
from pitcore_tools.evaluate import figures, report
from pitcore_tools.evaluate.logits import HeldOut
from pitcore_tools.export.graph import OPSET, float_graph
from pitcore_tools.quantise.static import METHODS, float_ops, op_histogram, quantise, run, session_for, to_nchw
from pitcore_tools.thresholds.control import accept_threshold, reject_threshold
from pitcore_tools.train.dataset import CropSet, prepare, read_crops, split
from pitcore_tools.train.loop import load_network, logits_of
from pitcore_tools.train.recipe import Recipe, recipe_yaml

CALIBRATION_CROPS = 320  # ranges have settled by 200; a multiple of the batch
GOLDEN_SEED, GOLDEN_CROPS = 20261123, 32
MAX_MISS, CONFIDENCE, MAX_CLEAN_LOSS = 0.01, 0.95, 0.02
ONNXRUNTIME_MIN = "1.22"  # the oldest whose wheels run on both boards; 1.21 dies on a Pi 4
MAX_EXPORT_ERROR = 1e-3  # of a logit, between torch and ONNX Runtime in float
GRANULE = 32

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Quantised:
    """An int8 graph and how it came to be.

    Attributes:
        model: uint8 NHWC in, float logits out.
        method: calibration that was chosen.
        errors: for each method tried, the mean distance of its margins from the float net's, on training crops
            that did not calibrate it.
        operators: of the optimised graph, on this machine.
    """

    model: onnx.ModelProto
    method: str
    errors: dict[str, float]
    operators: Counter[str]


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training run and its data, prepared."""

    recipe: Recipe
    network: nn.Module
    training: CropSet
    held_out: CropSet


def load_run(run_folder: Path, data: Path) -> Run:
    """Load a run and the crops it was trained on and judged by. Raises PitcoreError."""
    recipe, network = load_network(run_folder)
    training, held_out = split(prepare(read_crops(data), recipe.spec), recipe.folds, recipe.held_out_fold)
    return Run(recipe, network, training, held_out)


def calibration_sample(crops: CropSet) -> tuple[CropSet, CropSet]:
    """Return crops to calibrate with, the brightest and darkest among them, and as many others to choose by."""
    order = np.argsort([hashlib.sha256(name.encode()).digest() for name in crops.hashes], kind="stable")
    brightness = crops.pixels.astype(np.float64).sum(axis=(1, 2, 3))
    extremes = np.argsort(brightness, kind="stable")
    extremes = np.concatenate([extremes[: GRANULE // 2], extremes[-GRANULE // 2 :]])
    rest = order[~np.isin(order, extremes)]
    count = min(CALIBRATION_CROPS, len(crops) // 2 // GRANULE * GRANULE)
    if count < GRANULE:
        raise DataError(
            f"{len(crops)} training crops are too few to calibrate a quantiser; give at least {2 * GRANULE}"
        )
    chosen = np.concatenate([extremes, rest])[:count]
    others = rest[max(0, count - GRANULE) :][:count]
    masks = [np.isin(np.arange(len(crops)), part) for part in (chosen, others)]
    return crops.where(masks[0]), crops.where(masks[1])


def quantise_run(trained: Run, say: Say) -> Quantised:
    """Export, then quantise with each calibration, and keep the one closest to the float net.

    Raises:
        BundleError: the exported graph differs from the network, or its int8 form holds float operators.
    """
    recipe = trained.recipe
    model, zeroed = float_graph(trained.network, recipe.crop_size_px, normalised=recipe.normalise)
    calibration, choice = calibration_sample(trained.training)
    reference = logits_of(trained.network, choice.pixels, recipe)
    worst = check_export(model, choice.pixels, reference)
    say(f"export: {zeroed} subnormal weights zeroed; logits within {worst:.2g} of torch on {len(choice)} crops")
    candidates = {method: quantise(model, calibration.pixels, method) for method in METHODS}
    errors = {}
    for method, candidate in candidates.items():
        margins = figures.pit_margins(run(session_for(candidate), choice.pixels), recipe.labels)
        difference = margins - figures.pit_margins(reference, recipe.labels)
        errors[method] = float(np.abs(difference).mean())
        say(f"calibration {method}: margins off by {errors[method]:.4f} on average, on {len(choice)} training crops")
    method = min(errors, key=lambda name: errors[name])
    operators = op_histogram(candidates[method])
    if islands := float_ops(operators):
        raise BundleError(
            f"the optimised int8 graph holds {', '.join(sorted(islands))}: ONNX Runtime could not fuse it"
        )
    say(f"chosen: {method}; operators {dict(operators.most_common())}")
    return Quantised(candidates[method], method, errors, operators)


def check_export(model: onnx.ModelProto, crops: NDArray[np.uint8], reference: NDArray[np.float32]) -> float:
    """Return the largest distance between a float graph's logits and torch's. Raises BundleError if it is large."""
    worst = float(np.abs(run(session_for(model), to_nchw(crops)) - reference).max())
    if not worst <= MAX_EXPORT_ERROR:
        raise BundleError(f"the exported graph is off by {worst:.3g} from the network; the export is wrong")
    return worst


def held_out_logits(trained: Run, int8: onnx.ModelProto) -> HeldOut:
    """Run both nets over the held-out crops."""
    crops, labels = trained.held_out, trained.recipe.labels
    return HeldOut(
        hashes=crops.hashes,
        folds=np.full(len(crops), trained.recipe.held_out_fold, np.int64),
        labels=crops.labels,
        float_margins=figures.pit_margins(logits_of(trained.network, crops.pixels, trained.recipe), labels),
        int8_margins=figures.pit_margins(run(session_for(int8), crops.pixels), labels),
    )


def write_bundle(folder: Path, trained: Run, quantised: Quantised, held_out: HeldOut) -> None:
    """Write a whole bundle, or none.

    Args:
        folder: the bundle; replaced if it exists.
        trained: where it came from.
        quantised: the net that ships.
        held_out: its logits on crops it was not trained on.
    """
    slope, intercept = figures.fit_platt(held_out.labels, held_out.int8_margins)
    probabilities = figures.platt(held_out.int8_margins, slope, intercept)
    accept, reject, how = _thresholds(held_out, probabilities)
    said = run(session_for(quantised.model), trained.training.pixels)
    training = figures.confusion(trained.training.labels, figures.pit_margins(said, trained.recipe.labels))
    summary = report.summary(held_out)
    content = {
        "model.onnx": quantised.model.SerializeToString(),
        "config.yaml": recipe_yaml(trained.recipe).encode(),
        "golden.npz": golden_vectors(trained.recipe, quantised.model),
        "calibration.json": _json(_calibration_facts(held_out, summary, (slope, intercept))),
        "metrics.json": _json(
            {
                "split": {
                    "by": "crop_hash",
                    "folds": trained.recipe.folds,
                    "held_out_fold": trained.recipe.held_out_fold,
                },
                "held_out": summary,
                "training": {"crops": len(trained.training), "int8_accuracy": training.shares["accuracy"].value},
                "quantisation": {
                    "method": quantised.method,
                    "mean_margin_error": quantised.errors,
                    "operators": dict(quantised.operators.most_common()),
                },
                "thresholds": {
                    "how": how,
                    "accept": accept,
                    "reject": reject,
                },
            }
        ),
    }
    assert set(content) == set(BUNDLE_FILES), "the card names exactly these files"  # noqa: S101
    recipe, planes = trained.recipe, len(trained.recipe.planes)
    card = {
        "schema": "pitcore.card/1",
        "name": recipe.name,
        "version": recipe.version,
        "planes": recipe.planes,
        "crop_size_px": recipe.crop_size_px,
        "resize": recipe.resize,
        "layout": "NHWC",
        "dtype": "uint8",
        "scale": [1.0] * planes,
        "offset": [0.0] * planes,
        "labels": recipe.labels,
        "calibration": {"method": "platt", "slope": slope, "intercept": intercept},
        "thresholds": {"accept": accept, "reject": reject},
        "files": {name: hashlib.sha256(raw).hexdigest() for name, raw in content.items()},
        "runtime": {"onnxruntime_min": ONNXRUNTIME_MIN, "opset": OPSET},
    }
    raw_card = _json(card)
    decode_card(raw_card, "card.json")
    _replace_folder(folder, {**content, "card.json": raw_card})


def _thresholds(held_out: HeldOut, probabilities: figures.Floats) -> tuple[float, float, str]:
    """Return accept, reject and what they promise, on crops the net never saw."""
    _, first = np.unique(np.array(held_out.hashes), return_index=True)  # exact duplicates count once
    labels, probabilities = held_out.labels[first], probabilities[first]
    reject = reject_threshold(labels, probabilities, MAX_CLEAN_LOSS)
    loss = f"rejects at most {MAX_CLEAN_LOSS:.0%} of the held-out clean cherries"
    try:
        accepted = accept_threshold(labels, probabilities, MAX_MISS, CONFIDENCE)
    except DataError as error:
        lowest_pit = math.floor(float(probabilities[labels == 1].min()) * 1e4) / 1e4
        return min(lowest_pit, reject), reject, f"passes no held-out pit, without a promise: {error}; {loss}"
    promise = (
        f"with {CONFIDENCE:.0%} confidence at most {MAX_MISS:.0%} of pits pass (Wilks, {accepted.pits} held-out pits)"
    )
    return accepted.threshold, max(accepted.threshold, reject), f"{promise}; {loss}"


def golden_vectors(recipe: Recipe, model: onnx.ModelProto) -> bytes:
    """Return ``golden.npz``: procedural crops, never real ones, and the logits this machine computes for them."""
    spec = recipe.spec
    crops = np.stack([crop_from_image(render_crop(GOLDEN_SEED, index)[0], spec) for index in range(GOLDEN_CROPS)])
    file = io.BytesIO()
    np.savez_compressed(file, crops=crops, logits=run(session_for(model), crops))
    return file.getvalue()


def _calibration_facts(held_out: HeldOut, summary: dict[str, Any], fitted: tuple[float, float]) -> dict[str, Any]:
    return {
        "method": "platt",
        "slope": fitted[0],
        "intercept": fitted[1],
        "fitted_on": f"the int8 margins of all {len(held_out.labels)} held-out crops, which the net was not trained on",
        "ece": summary["ece_int8"],
        "ece_how": "each half of the held-out crops, by hash, scored with a calibration fitted on the other half",
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _write(raw: bytes, file: BinaryIO) -> None:
    file.write(raw)


def _replace_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files beside the folder, then swap names.

    Raises:
        DataError: the folder holds something that no bundle does; it is not touched.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file; name a folder for the bundle")
    strange = sorted({path.name for path in folder.iterdir()} - set(files)) if folder.exists() else []
    if strange:
        raise DataError(
            f"{folder}: holds {', '.join(strange[:3])}, so it is no bundle and is not replaced; name another folder"
        )
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    fresh.mkdir(parents=True)
    try:
        for name, raw in files.items():
            replace_file(fresh / name, partial(_write, raw))
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
        sync_directory(folder.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
