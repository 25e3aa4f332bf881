"""Implements ``pitcore update campaign``: a fleet's server selects the model for this board."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from pitcore.cli.update_place import needing_the_extra, options, place_of
from pitcore.errors import UpdateError

RETRY_S = 60.0


@click.command()
@click.option("--once", is_flag=True, help="Ask once and exit. Default: keep asking, as often as the server sets.")
@options
def campaign(once: bool, as_json: bool, **where: Any) -> None:  # noqa: ANN401  the options of all update commands
    """Carry out the orders of the fleet's Eclipse hawkBit server in [hawkbit], and report the results.

    The server only selects. The model comes from the signed repository of [update]. Success is reported to the server
    after the new model is committed.

    \b
    Example:
      pitcore update campaign
    """
    place = place_of(**where)
    with needing_the_extra():
        from pitcore.cli.updating import fleet  # noqa: PLC0415  pitcore runs without the extra
    board = fleet(place)
    while True:
        try:
            polled = board.poll()
        except UpdateError as error:
            if once:
                raise
            click.echo(f"campaign: {error}", err=True)  # the server or the network is away: that is no end
            time.sleep(RETRY_S)
            continue
        answer = {"message": polled.message, "sleep_s": polled.sleep_s}
        click.echo(json.dumps(answer) if as_json else polled.message)
        if once:
            return
        time.sleep(polled.sleep_s)
