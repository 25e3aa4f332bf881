"""A hawkBit server as a device sees it: the state machine of an action, and the answer to each call.

Built from the published API (https://eclipse.dev/hawkbit/rest-api/ddi/) and its description of the states
(https://eclipse.dev/hawkbit/apis/ddi_api/). One tenant, one target.
"""

import json
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

AUTHORIZATION = "TargetToken bH7XXAprK1ChnLfKSdtlsp7NOlPnZAYY"
EXECUTIONS = {"closed", "proceeding", "canceled", "scheduled", "rejected", "resumed", "downloaded", "download"}
RESULTS = {"success", "failure", "none"}


class Hawkbit:
    """The server's memory."""

    def __init__(self):
        self.url, self.controller = "", "board-1"
        self.actions, self.attributes, self.wants_attributes = {}, {}, True
        self.log = []  # (action, execution, finished, details)
        self.calls = []
        self.links = None  # the beginning of links, if it is not the server's address
        self.answer = None  # (status, body): what every call gets instead

    # Actions of an operator.

    def assign(self, name, version, *, metadata=(), part="model", **orders):
        """Assign a distribution set with one software module; what was assigned before is canceled."""
        for action in self.actions.values():
            if action["active"]:
                action["canceling"] = True
        number = str(len(self.actions) + 1)
        chunk = {
            "part": part,
            "name": name,
            "version": version,
            "artifacts": [],
            "metadata": [{"key": key, "value": value} for key, value in metadata],
        }
        deployment = {"download": "forced", "update": "forced", "chunks": [chunk]} | orders
        self.actions[number] = {"deployment": deployment, "active": True, "canceling": False, "status": "RUNNING"}
        return number

    def cancel(self, number):
        self.actions[number]["canceling"] = True

    def status(self, number):
        return self.actions[number]["status"]

    # Requests of a device.

    def base(self):
        links = {}
        active = [number for number, action in self.actions.items() if action["active"]]
        if active and self.actions[active[0]]["canceling"]:
            links["cancelAction"] = {"href": self.link(f"cancelAction/{active[0]}")}
        elif active:
            links["deploymentBase"] = {"href": self.link(f"deploymentBase/{active[0]}?c=-2129030598")}
        if self.wants_attributes:
            links["configData"] = {"href": self.link("configData")}
        return {"config": {"polling": {"sleep": "00:01:00"}}, "_links": links}

    def link(self, rest):
        return f"{self.url if self.links is None else self.links}/DEFAULT/controller/v1/{self.controller}/{rest}"

    def handle(self, method, path, body):
        """Return status and answer."""
        prefix = f"/DEFAULT/controller/v1/{self.controller}"
        if not path.startswith(prefix):
            return 404, None
        parts = path.removeprefix(prefix).split("?")[0].strip("/").split("/")
        status, answer = 404, None
        match method, parts:
            case "GET", [""]:
                status, answer = 200, self.base()
            case "PUT", ["configData"]:
                status, answer = self.take_attributes(body)
            case "GET", ["deploymentBase", number] if self.is_active(number):
                answer = {"id": number, "deployment": self.actions[number]["deployment"], "actionHistory": {}}
                status = 200
            case "GET", ["cancelAction", number] if self.is_active(number) and self.actions[number]["canceling"]:
                status, answer = 200, {"id": number, "cancelAction": {"stopId": number}}
            case "POST", [("deploymentBase" | "cancelAction") as kind, number, "feedback"] if number in self.actions:
                status, answer = self.take_feedback(kind, number, body)
        return status, answer

    def is_active(self, number):
        return number in self.actions and self.actions[number]["active"]

    def take_attributes(self, body):
        if body.get("mode", "merge") not in {"merge", "replace", "remove"} or not isinstance(body.get("data"), dict):
            return 400, {"errorCode": "hawkbit.server.error.rest.body.notReadable"}
        self.attributes |= body["data"]
        self.wants_attributes = False
        return 200, None

    def take_feedback(self, kind, number, body):
        try:
            execution, finished = body["status"]["execution"], body["status"]["result"]["finished"]
        except (KeyError, TypeError):
            return 400, {"errorCode": "hawkbit.server.error.rest.body.notReadable"}
        if execution not in EXECUTIONS or finished not in RESULTS:
            return 400, {"errorCode": "hawkbit.server.error.rest.body.notReadable"}
        if not self.is_active(number):
            return 410, {"errorCode": "hawkbit.server.error.action.notActive"}
        action = self.actions[number]
        self.log.append((number, execution, finished, body["status"].get("details", [""])[0]))
        if kind == "cancelAction":
            if execution in {"closed", "canceled"}:
                action |= {"active": False, "status": "ERROR" if finished == "failure" else "CANCELED"}
            elif execution == "rejected":
                action["canceling"] = False
        elif execution == "closed":
            action |= {"active": False, "status": "ERROR" if finished == "failure" else "FINISHED"}
            self.wants_attributes = finished != "failure"
        elif execution == "downloaded":
            action["status"] = "DOWNLOADED"
        return 200, None


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server, *rest):
        self.hawkbit = server
        super().__init__(*rest)

    def log_message(self, *rest):
        pass

    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.hawkbit.calls.append((self.command, self.path))
        if self.hawkbit.answer is not None:
            status, answer = self.hawkbit.answer
        elif self.headers.get("Authorization") != AUTHORIZATION:
            status, answer = 401, None
        else:
            status, answer = self.hawkbit.handle(self.command, self.path, body)
        raw = b"" if answer is None else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/hal+json;charset=UTF-8")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_POST = do_PUT = do_GET  # noqa: N815  names that http.server asks for


@contextmanager
def hawkbit():
    """Run the server for the time of a ``with``."""
    memory = Hawkbit()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, memory))
    memory.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
