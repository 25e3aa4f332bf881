"""Names the recipe of the bundled model, and the held-out logits of its five nets."""

from __future__ import annotations

from pathlib import Path

BUNDLED_RECIPE = "quarter-fine-72-start"
EVIDENCE = Path(__file__).parent / "results" / f"{BUNDLED_RECIPE}.csv"
