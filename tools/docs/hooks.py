"""Hooks of mkdocs: links that leave docs/, and the list of decisions in the navigation."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#]*)(#[^)]*)?\)")


def on_config(config):
    """Append every decision to the navigation, so that a new one needs no line there."""
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    config["nav"].append({"Decisions": pages})
    return config


def on_page_markdown(markdown, page, **_rest):
    """Show a link to a file outside docs/ as the file's path, since the site does not have it.

    Raises:
        FileNotFoundError: there is no such file.
    """
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def shown(match):
        target = (folder / match[2]).resolve(strict=True)
        if target.is_relative_to(ROOT / "docs"):
            return match[0]
        return f"`{target.relative_to(ROOT).as_posix()}`"

    return LINK.sub(shown, markdown)
