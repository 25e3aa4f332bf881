"""``pitcore-tools audit-line``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec

from pitcore.camera.crops import LABELS
from pitcore.cli.parameters import InputPath, Number, Text
from pitcore.errors import DataError
from pitcore.text_table import table
from pitcore_tools.label.crops import crops_of
from pitcore_tools.line.rates import VERDICTS, Rate, Stratum, rates
from pitcore_tools.tables import HASH_DIGITS
from pitcore_tools.train.dataset import read_relabel


@click.command("audit-line")
@click.argument("source", type=Text())
@click.option("--labels", required=True, type=InputPath(), help="labels.csv of `pitcore-tools label --sample`.")
@click.option("--level", default=0.95, show_default=True, type=Number(0.5, 0.9999), help="Confidence of the intervals.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def audit_line(source: str, labels: Path, level: float, as_json: bool) -> None:
    """Estimate how often the line is right, from the random sample of SOURCE and people's labels.

    SOURCE is a folder of kept crops, or an archive of `pitcore-tools pull`. Only crops that the board sampled at random
    count. They give the share of each verdict; labels of some of them give how often it is right. Cherries that
    the network never judged (side, unseen, overload) are not included.

    \b
    Examples:
      pitcore-tools label ../archive --out ../labels --sample 200
      pitcore-tools audit-line ../archive --labels ../labels/labels.csv
    """
    label_of = read_relabel(labels, LABELS)
    sampled, labelled, pits = Counter[str](), Counter[str](), Counter[str]()
    left_out, models = 0, Counter[str]()
    for one in crops_of(source):
        if one.record is None or "random" not in one.record.why:
            continue
        verdict = one.record.verdict
        sampled[verdict.verdict] += 1
        models[f"{verdict.model.name} {verdict.model.version}"] += 1
        said = label_of.get(one.crop[:HASH_DIGITS], -1)
        left_out += said is None
        if said is not None and said >= 0:
            labelled[verdict.verdict] += 1
            pits[verdict.verdict] += LABELS[said] == "pit"
    if not sampled:
        raise DataError(f"{source}: no crop of a random sample; set random_share in [capture]")
    strata = {name: Stratum(sampled[name], labelled[name], pits[name]) for name in VERDICTS}
    found = rates(strata, level)
    if as_json:
        told: dict[str, Any] = {"schema": "pitcore.audit-line/1", "level": level, "left_out": left_out}
        told |= {"models": models, "strata": msgspec.to_builtins(strata), "rates": msgspec.to_builtins(found)}
        click.echo(json.dumps(told))
        return
    click.echo(_text(strata, found, level, left_out, models))


def _text(strata: dict[str, Stratum], found: list[Rate], level: float, left_out: int, models: Counter[str]) -> str:
    counts = [[name, str(one.sampled), str(one.labelled), str(one.pits)] for name, one in strata.items()]
    shown = [[one.name, f"{100 * one.value:.2f} %", f"{100 * one.low:.2f} to {100 * one.high:.2f} %"] for one in found]
    lines = [
        f"models: {', '.join(models)}",
        "",
        table(["verdict", "random sample", "labelled", "with a pit"], counts),
        "",
        table(["rate", "estimate", f"{100 * level:g} % interval"], shown),
    ]
    if left_out:
        lines.append(f"\n{left_out} crops have no clear label, so they count in the sample only")
    return "\n".join(lines)
