"""``pitcore-tools audit``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from pitcore.camera.crops import LabelledCrop, load_labelled
from pitcore.cli.parameters import InputPath, Number, OutputFolder
from pitcore.errors import DataError
from pitcore_tools.audit import output, report
from pitcore_tools.audit.findings import Findings, find
from pitcore_tools.audit.opinions import SURE
from pitcore_tools.evaluate.logits import HeldOut, read_logits
from pitcore_tools.tables import HASH_DIGITS

CONFIDENCE = Number(0.5, 1.0, min_open=True, max_open=True)


@click.command()
@click.argument("data", type=InputPath())
@click.option(
    "--logits",
    "logits",
    multiple=True,
    type=InputPath(),
    help="Held-out logits (CSV) of a net. Give it again for each independent net.",
)
@click.option("--against", type=InputPath(), help="Second folder of crops to compare with.")
@click.option(
    "--confidence",
    default=SURE,
    show_default=True,
    type=CONFIDENCE,
    help="Suspect a crop if every net is more certain than this.",
)
@click.option("--out", required=True, type=OutputFolder(), help="New folder for the files, outside of git.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def audit(
    data: Path, logits: Sequence[Path], against: Path | None, confidence: float, out: Path, as_json: bool
) -> None:
    """Find duplicate pictures, suspect labels, unusual light or size, and drift in DATA.

    DATA holds cherry_clean/ and cherry_pit/. Nothing in it is changed. The files in --out are findings.csv and
    findings.json, sheets with pictures of the suspects, and relabel.csv with suggestions. A person must go through
    relabel.csv before a recipe may name it, and delete each row whose label was right.

    \b
    Examples:
      pitcore-tools audit ../shared/cherries/train --out ../audit
      pitcore-tools audit DATA --logits a.csv --logits b.csv --against NEW --out ../audit
    """
    output.claim_folder(out)
    crops = load_labelled(data)
    tables = {str(path): _with_full_hashes(crops, data, path) for path in logits}
    found = find(crops, tables, confidence, load_labelled(against) if against else [])
    names = output.write(found, data, out)
    click.echo(json.dumps(report.summary(found)) if as_json else f"{report.text(found)}\n\n{_where(found, out, names)}")


def _with_full_hashes(crops: Sequence[LabelledCrop], data: Path, path: Path) -> HeldOut:
    """Read held-out logits, whose crops are named by the first digits of their hash. Raises DataError."""
    table = read_logits(path)
    full = {crop.hash[:HASH_DIGITS]: crop.hash for crop in crops}
    names = [name[:HASH_DIGITS] for name in table.hashes]
    if missing := set(names) - set(full):
        raise DataError(
            f"{path}: {len(missing)} of its {len(set(names))} crops are not in {data}, the first is {min(missing)}; "
            "give the logits of this data"
        )
    return replace(table, hashes=[full[name] for name in names])


def _where(found: Findings, out: Path, names: Sequence[str]) -> str:
    sheets = [name for name in names if name.endswith(".png")]
    drawn = (
        f"{sheets[0]} to {sheets[-1]}" if len(sheets) > 1 else "".join(sheets) or "no sheet, since there is no suspect"
    )
    lines = [f"In {out}:", f"  {output.TABLE}, {output.FINDINGS}   every finding", f"  {drawn}"]
    if len(found.suspects) or found.conflicts:
        lines.append(
            f"  {output.RELABEL}   suggestions only: look at each, and take out what is wrong, before training"
        )
    else:
        lines.append(f"  {output.RELABEL}   nothing to suggest")
    return "\n".join(lines)
