"""Answers the browser of a labeller: serves the page and the planes of a crop, and stores labels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pitcore.camera.crops import decode_crop
from pitcore.errors import DataError
from pitcore.page.guard import Guard
from pitcore.page.server import body_of
from pitcore_tools.audit.sheet import stretched
from pitcore_tools.label.book import Book
from pitcore_tools.label.crops import Asked

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("label.html", "text/html"),
    "/label.css": ("label.css", "text/css"),
    "/label.js": ("label.js", "text/javascript"),
}
AHEAD = 50  # number of crops that a page gets in one answer


class Site:
    """The web site for labelling.

    Args:
        crops: the crops, in the order in which they are shown.
        book: stores the labels.
    """

    def __init__(self, crops: Sequence[Asked], book: Book) -> None:
        self._crops = {one.crop: one for one in crops}
        self._book = book

    def app(self) -> Guard:
        """Return the ASGI application."""
        routes = [
            *(Route(path, self._file) for path in FILES),
            Route("/work", self._work),
            Route("/differing", self._differing),
            Route("/crop/{crop}/{view}/{plane:int}.png", self._plane),
            Route("/label", self._label, methods=["POST"]),
            Route("/undo", self._undo, methods=["POST"]),
        ]
        handlers: Any = {HTTPException: _refused, DataError: _wrong}
        return Guard(Starlette(routes=routes, exception_handlers=handlers), ())

    async def _file(self, request: Request) -> Response:
        name, kind = FILES[request.url.path]
        return Response((STATIC / name).read_bytes(), media_type=kind)

    async def _work(self, request: Request) -> Response:
        said = self._book.said(request.query_params.get("by", ""))
        todo = [crop for crop in self._crops if crop not in said]
        return JSONResponse(
            {"todo": todo[:AHEAD], "done": len(self._crops) - len(todo), "total": len(self._crops)} | self._progress()
        )

    async def _differing(self, request: Request) -> Response:
        del request
        found = {crop: said for crop, said in self._book.differing().items() if crop in self._crops}
        return JSONResponse(
            {"crops": [{"crop": crop, "said": said} for crop, said in found.items()]} | self._progress()
        )

    async def _plane(self, request: Request) -> Response:
        one = self._crops.get(request.path_params["crop"])
        plane = request.path_params["plane"]
        if one is None or plane not in {0, 1}:
            raise HTTPException(404, "no such crop")
        pixels = decode_crop(one.png, one.crop)[:, :, plane]
        file = io.BytesIO()
        Image.fromarray(stretched(pixels) if request.path_params["view"] == "even" else pixels).save(file, "PNG")
        return Response(file.getvalue(), media_type="image/png")

    async def _label(self, request: Request) -> Response:
        body = await body_of(request)
        self._book.say(*(str(body.get(key, "")) for key in ("by", "crop", "said")))
        return JSONResponse(self._progress())

    async def _undo(self, request: Request) -> Response:
        body = await body_of(request)
        crop = self._book.undo(str(body.get("by", "")))
        return JSONResponse({"crop": crop if crop in self._crops else None} | self._progress())

    def _progress(self) -> dict[str, Any]:
        agreement = self._book.agreement()
        return {
            "differ": len(self._book.differing()),
            "both": agreement.crops,
            "agreed": agreement.agreed,
            "kappa": agreement.kappa,
        }


async def _refused(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


async def _wrong(_: Request, error: DataError) -> Response:
    return JSONResponse({"error": str(error)}, 409)
