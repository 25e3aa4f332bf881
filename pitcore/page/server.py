"""Answers browsers: serves the page and its data, and carries out the commands that a role allows."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pitcore.control.client import RELOAD_TIMEOUT_S, TIMEOUT_S, ask
from pitcore.errors import ControlError, PageError, PitcoreError
from pitcore.page.board_view import BoardView
from pitcore.page.guard import Guard, TooLargeError
from pitcore.page.hub import MAX_VIEWERS, Hub
from pitcore.page.pictures import Album, BeltPicture
from pitcore.page.report import to_csv, to_html
from pitcore.page.roles import Role, Sessions, Token, may
from pitcore.page.shifts import Record, ShiftBook
from pitcore.page.words import REASONS

log = logging.getLogger("pitcore.page")

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
COOKIE = "pitcore_session"
WRONG_TOKEN_S = 0.5
LOG_EVERY_S = 60.0
MAX_DIGITS = 18  # of a number in a path
NO_CHERRY = "there is no such cherry, or it was too long ago"


# Actions on the page: the command of the control socket, and the role that it needs.
ACTIONS: dict[str, tuple[str, Role]] = {
    "arm": ("arm", "operator"),
    "disarm": ("disarm", "operator"),
    "point": ("point", "engineer"),
    "test-valve": ("test_valve", "engineer"),
}
ARGUMENTS = {"point": ("point",), "test-valve": ("lane", "code")}  # arguments of an action


class Site:
    """The web site of one board.

    Args:
        view: state of the board.
        album: pictures of the belt and of cherries.
        hub: sends events to viewers.
        sessions: sessions and their roles.
        book: counts of the shifts.
    """

    def __init__(self, view: BoardView, album: Album, hub: Hub, sessions: Sessions, book: ShiftBook) -> None:
        self._view, self._album, self._hub, self._sessions, self._book = view, album, hub, sessions, book
        self._config = view.start.config
        self._logged_s = -LOG_EVERY_S
        self._files = {path: ((STATIC / name).read_bytes(), kind) for path, (name, kind) in FILES.items()}
        self.rollout: dict[str, Any] = {}

    def app(self) -> Guard:
        """Return the ASGI application."""
        looks: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/state": self._state,
            "/cherry/{number}": self._cherry,
            "/cherry/{number}/{plane}.png": self._cherry_plane,
            "/shifts": self._shifts,
            "/shifts/{shift_id}.csv": self._shift_csv,
            "/shifts/{shift_id}": self._shift,
        }
        routes = [Route(path, self._file) for path in FILES]
        routes += [Route(path, self._for_viewers(answer)) for path, answer in looks.items()]
        routes += [
            Route("/events", _Stream(self)),
            Route("/session", self._session),
            Route("/session", self._log_in, methods=["POST"]),
            Route("/session", self._log_out, methods=["DELETE"]),
            *(Route(f"/do/{name}", self._action(name, role), methods=["POST"]) for name, (_, role) in ACTIONS.items()),
        ]
        handlers: Any = {HTTPException: _refused, TooLargeError: _too_large, PitcoreError: _unavailable}
        return Guard(Starlette(routes=routes, exception_handlers=handlers), self._config.names)

    def setup(self) -> bytes:
        """Return the first event of a viewer: constant data of the board, and the charts so far."""
        start = self._view.start
        data = {
            "board": socket.gethostname(),
            "planes": start.planes,
            "width": start.shape[1],
            "height": start.shape[0],
            "px_per_tick": start.px_per_tick,
            "reasons": REASONS,
            "points": self._view.points,
        }
        return b"retry: 1000\nevent: setup\ndata: " + msgspec.json.encode(data) + b"\n\n"

    def now(self) -> bytes:
        """Return the present state as JSON."""
        state = self._view.state(time.monotonic()) | {
            "rollout": self.rollout,
            "clock_ms": time.monotonic_ns() // 10**6,
        }
        shift = self._book.current(dt.datetime.now(dt.UTC))
        if shift is not None:
            state["counts"]["shift"] = shift
        return msgspec.json.encode(state)

    def picture(self, picture: BeltPicture) -> bytes:
        """Return a picture as JSON."""
        cherries = [
            [one.seen.number, *one.box, one.seen.verdict, one.seen.reason, (one.seen.probabilities or {}).get("pit")]
            for one in picture.shown
        ]
        data = {
            "number": picture.number,
            "seq": picture.ref.seq,
            "at_ms": picture.ref.t_ns // 10**6,
            "cherries": cherries,
            "jpeg": base64.b64encode(picture.jpeg).decode(),
        }
        return msgspec.json.encode(data)

    def token_of(self, request: Request) -> Token | None:
        """Return the token of a request's session, or None. Raises PageError."""
        return self._sessions.find(request.cookies.get(COOKIE))

    def check_viewer(self, request: Request) -> None:
        """Raise HTTPException if a request may not see the page. Raises PageError."""
        if not self._config.open and not may(self.token_of(request), "viewer"):
            raise HTTPException(401, "enter a token at the bottom of the page first")

    def may_look(self, request: Request) -> bool:
        """Return True if a request, which was accepted once, may still see the page."""
        try:
            self.check_viewer(request)
        except (HTTPException, PageError):  # the viewer asks again, and gets the reason
            return False
        return True

    def check_role(self, request: Request, needed: Role) -> Token:
        """Return the token of a request if its role is sufficient. Raises HTTPException, PageError."""
        token = self.token_of(request)
        if token is None:
            raise HTTPException(401, "enter a token first")
        if not may(token, needed):
            raise HTTPException(403, f"this needs the role {needed}, but {token.name} has the role {token.role}")
        return token

    def _for_viewers(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            self.check_viewer(request)
            return await answer(request)

        return checked

    async def _file(self, request: Request) -> Response:
        raw, kind = self._files[request.url.path]
        return Response(raw, media_type=kind)

    async def _state(self, request: Request) -> Response:
        del request
        return Response(self.now(), media_type="application/json")

    async def _cherry(self, request: Request) -> Response:
        number = number_of(request, "number")
        seen = None if number is None else self._album.cherry(number)
        if seen is None:
            raise HTTPException(404, NO_CHERRY)
        line = self._view.line
        values = msgspec.to_builtins(seen)
        names = type(seen).__struct_fields__
        thresholds = None if line is None else {"accept": line.model["accept"], "reject": line.model["reject"]}
        why = None if seen.reason is None else REASONS[seen.reason]
        lane = self._view.start.lanes[seen.lane]
        cherry = dict(zip(names, values, strict=True))
        return JSONResponse(cherry | {"lane": lane, "why": why, "thresholds": thresholds})

    async def _cherry_plane(self, request: Request) -> Response:
        number, plane = number_of(request, "number"), number_of(request, "plane")
        raw = None if number is None or plane is None else self._album.cherry_png(number, plane)
        if raw is None:
            raise HTTPException(404, NO_CHERRY)
        return Response(raw, media_type="image/png")

    async def _shifts(self, request: Request) -> Response:
        del request
        return JSONResponse(await asyncio.to_thread(self._book.past))

    async def _shift_csv(self, request: Request) -> Response:
        shift_id, record = self._shift_of(request)
        named = {"content-disposition": f'attachment; filename="shift-{shift_id}.csv"'}
        return Response(to_csv(record), media_type="text/csv", headers=named)

    async def _shift(self, request: Request) -> Response:
        shift_id, record = self._shift_of(request)
        return Response(to_html(record, shift_id, socket.gethostname()), media_type="text/html")

    def _shift_of(self, request: Request) -> tuple[str, Record]:
        """Return the shift that a request names. Raises HTTPException."""
        shift_id = request.path_params["shift_id"]
        record = self._book.read(shift_id)
        if record is None:
            raise HTTPException(404, "there is no record of this shift")
        return shift_id, record

    async def _session(self, request: Request) -> Response:
        """Return name and role of the session."""
        token = self.token_of(request)
        owner = {"name": None, "role": None} if token is None else {"name": token.name, "role": token.role}
        return JSONResponse(owner | {"open": self._config.open})

    async def _log_in(self, request: Request) -> Response:
        token = (await body_of(request)).get("token")
        begun = self._sessions.begin(token) if isinstance(token, str) else None
        if begun is None:
            await asyncio.sleep(WRONG_TOKEN_S)
            if time.monotonic() - self._logged_s >= LOG_EVERY_S:
                self._logged_s = time.monotonic()
                log.warning("[page] unknown token from %s", request.client.host if request.client else "?")
            raise HTTPException(401, "unknown token; make one with: pitcore page token ROLE")
        secret, owner = begun
        log.info("[page] %s (%s) logged in", owner.name, owner.role)
        answer = JSONResponse({"name": owner.name, "role": owner.role, "open": self._config.open})
        is_secure = self._config.certificate is not None
        answer.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=is_secure, path="/")
        return answer

    async def _log_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(COOKIE))
        answer = JSONResponse({"name": None, "role": None, "open": self._config.open})
        answer.delete_cookie(COOKIE, path="/")
        return answer

    def _action(self, name: str, role: Role) -> Callable[[Request], Awaitable[Response]]:
        """Return the handler of an action."""
        command, _ = ACTIONS[name]
        socket_path = Path(self._view.start.control_socket)

        async def answer(request: Request) -> Response:
            owner = self.check_role(request, role)
            body = await body_of(request)
            args = {key: body[key] for key in ARGUMENTS.get(name, ()) if key in body} | {"page_user": owner.name}
            timeout_s = RELOAD_TIMEOUT_S if name == "point" else TIMEOUT_S
            try:
                result = await asyncio.to_thread(ask, socket_path, command, args, timeout_s=timeout_s)
            except ControlError as error:
                log.info("[page] %s by %s was refused: %s", name, owner.name, error)
                raise HTTPException(409, str(error)) from error
            log.info("[page] %s by %s (%s)", name, owner.name, owner.role)
            return JSONResponse(result)

        return answer


class _Stream:
    """The stream of events, as an ASGI application."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI's
        site = self._site
        request = Request(scope)
        site.check_viewer(request)
        if site._hub.viewers >= MAX_VIEWERS:  # noqa: SLF001  of the same module
            raise HTTPException(503, f"there are already {MAX_VIEWERS} viewers; close another page")
        await site._hub.stream(site.setup(), lambda: site.may_look(request), receive, send)  # noqa: SLF001


def number_of(request: Request, key: str) -> int | None:
    """Return a number in the path of a request, or None if it is not one of at most ``MAX_DIGITS`` digits.

    Starlette's own ``{key:int}`` raises on thousands of digits.
    """
    text: str = request.path_params[key]
    return int(text) if len(text) <= MAX_DIGITS and text.isascii() and text.isdecimal() else None


async def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request. Raises HTTPException, TooLargeError."""
    try:
        body = msgspec.json.decode(await request.body(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, "the body is not a JSON object") from error
    return body


async def _refused(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


async def _too_large(_: Request, error: TooLargeError) -> Response:
    del error
    return JSONResponse({"error": "the body is too long"}, 413, headers={"connection": "close"})


async def _unavailable(_: Request, error: PageError) -> Response:
    log.warning("[page] %s", error)
    return JSONResponse({"error": "the board cannot do this now; its log says why"}, 503)
