"""The figures as Prometheus itself reads them."""

import json
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from pitcore import machine
from pitcore.config import MetricsConfig, ShadowConfig
from pitcore.metrics import Metrics
from pitcore.outputs import prometheus
from pitcore.outputs.figures import ServiceCollector, _outputs
from pitcore.outputs.prometheus import MAX_CONNECTIONS, PrometheusOutput
from pitcore.shadow.beside import Shadow
from pitcore.sinks.jsonl import JsonlSink
from tests.conftest import ROOT
from tests.outputs.running import RunningService, free_port, need, until
from tests.scene import config_for

RULES = ROOT / "firmware_configs" / "prometheus" / "pitcore.rules.yml"
DASHBOARD = ROOT / "firmware_configs" / "grafana" / "pitcore.json"
ON = '[metrics]\nenabled = true\nport = {port}\ntextfile = "{textfile}"\nevery_s = 1.0\n'
VALVES = """
[actuation]
kind = "simulated"
encoder = { line_a = 20, line_b = 21 }
lanes = [
    { line = 5, x_px = [0, 640], distance_ticks = 2000, pulse_ticks = 60 },
    { line = 6, x_px = [0, 640], distance_ticks = 3000, pulse_ticks = 60, action = "review" }, # no cherry need be a pit
]
"""


def scrape(port, path="/metrics"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read().decode()


def samples(text):
    """Every sample by its name with labels."""
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"}


@pytest.fixture
def pi(tmp_path, monkeypatch):
    """A Raspberry Pi's files of heat and throttling."""
    (tmp_path / "temp").write_text("61234\n")
    (tmp_path / "throttled").write_text("50005\n")
    monkeypatch.setattr(machine, "THERMAL", tmp_path / "temp")
    monkeypatch.setattr(machine, "THROTTLED", tmp_path / "throttled")


@pytest.fixture
def service(tmp_path, tiny_bundle, pi):
    text = ON.format(port=0, textfile=tmp_path / "node" / "pitcore.prom")
    with RunningService(tmp_path, tiny_bundle, text) as running:
        until(lambda: running.metrics.value("verdicts") > 20, "verdicts")
        yield running


def port_of(service):
    return urllib.parse.urlsplit(service.sink("metrics")["address"]).port


def test_scraped_figures_are_those_of_the_service(service):
    before, found, after = service.metrics.mark(), samples(scrape(port_of(service))), service.metrics.mark()

    def between(name, key, label=""):
        low, high = (mark.counts.get((key, label), 0) for mark in (before, after))
        assert low <= found[name] <= high, f"{name}: {found[name]} is not from {low} to {high}"

    between("pitcore_frames_total", "frames")
    between("pitcore_frames_judged_total", "judged")
    for verdict in ("clean", "maybe", "pit", "side"):
        between(f'pitcore_verdicts_total{{verdict="{verdict}"}}', "verdicts", verdict)
    stage = "pitcore_stage_duration_seconds"
    assert before.stages["infer"] <= found[f'{stage}_count{{stage="infer"}}'] <= after.stages["infer"]
    assert found[f'{stage}_bucket{{le="+Inf",stage="infer"}}'] == found[f'{stage}_count{{stage="infer"}}']
    assert found['pitcore_frames_dropped_total{camera="all",reason="queue_full"}'] >= 0
    assert found["pitcore_soc_temperature_celsius"] == 61.234
    assert found['pitcore_throttled{flag="under_voltage_now"}'] == 1
    assert found['pitcore_throttled{flag="clock_capped_now"}'] == 0
    sha = service.app.bundle.sha256
    assert found[f'pitcore_model_info{{name="tiny",point="strict",sha256="{sha}",version="1.2.3"}}'] == 1
    assert found["pitcore_armed"] == 0
    assert found["pitcore_frame_time_used"] > 0
    assert found['pitcore_state{state="running"}'] == 1
    assert found['pitcore_alarm{alarm="light_off"}'] == 0
    assert found['pitcore_output_ok{output="jsonl"}'] == 1


def test_arming_and_rejects_show(tmp_path, tiny_bundle):
    with RunningService(tmp_path, tiny_bundle, ON.format(port=0, textfile=tmp_path / "p.prom") + VALVES) as running:
        running.arming.arm("anna")
        needed = ("pitcore_reject_scheduled_total", "pitcore_reject_spare_seconds_count")
        found = until(
            lambda: all((now := samples(scrape(port_of(running))))[name] for name in needed) and now, "rejects"
        )
        assert found["pitcore_armed"] == 1
        assert found["pitcore_reject_late_total"] >= 0
        spare = "pitcore_reject_spare_seconds"
        assert found[f'{spare}_bucket{{le="+Inf"}}'] == found[f"{spare}_count"]
        assert found['pitcore_output_ok{output="valves"}'] == 1


def test_an_output_is_ok_only_when_it_works(tmp_path, tiny_bundle):
    """An output whose process hangs at its start stays in the state `starting`."""
    shadow = Shadow(config_for(tiny_bundle, shadow=ShadowConfig(enabled=True, bundle="x")), None, Metrics())
    lines = JsonlSink(tmp_path / "verdicts.jsonl", rotate_bytes=1 << 20, keep=1, metrics=Metrics())
    ok, _ = _outputs((shadow, lines), Metrics())
    assert shadow.status()["state"] == "starting"
    assert {sample.labels["output"]: sample.value for sample in ok.samples} == {"shadow": 0, "jsonl": 1}
    shadow.close()
    lines.close()


def test_promtool_accepts_names_and_texts(service):
    done = subprocess.run(
        [need("promtool", "prometheus"), "check", "metrics"],
        input=scrape(port_of(service)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_no_label_grows_with_the_cherries(service):
    before = len(samples(scrape(port_of(service))))
    seen = service.metrics.value("verdicts")
    until(lambda: service.metrics.value("verdicts") > 3 * seen, "more verdicts")
    after = samples(scrape(port_of(service)))
    assert len(after) <= before + 8, "at most a reason or an event that had not come yet"


def test_the_textfile_has_pitcores_own_figures_only_and_goes_with_the_service(tmp_path, tiny_bundle):
    textfile = tmp_path / "node" / "pitcore.prom"
    with RunningService(tmp_path, tiny_bundle, ON.format(port=0, textfile=textfile)) as running:
        until(textfile.exists, "textfile")
        until(lambda: samples(textfile.read_text())["pitcore_frames_judged_total"] > 0, "judged frames in it")
        in_file, scraped = samples(textfile.read_text()), samples(scrape(port_of(running)))
        assert 1e6 < in_file["pitcore_resident_memory_bytes"] < 1e11
        assert [name for name in in_file if not name.startswith("pitcore_")] == [], "node_exporter has its own"
        others = {name for name in scraped if not name.startswith("pitcore_")}
        said = (ROOT / "docs" / "metrics.md").read_text()
        assert others
        assert [name for name in others if f"`{name}`" not in said] == []
        assert running.sink("metrics")["state"] == "ok"
    assert list((tmp_path / "node").iterdir()) == [], "old figures would be taken for new ones"


def test_a_textfile_that_cannot_be_written_is_shown_and_written_as_soon_as_it_can(tmp_path, tiny_bundle):
    (tmp_path / "node").write_text("no folder")
    textfile = tmp_path / "node" / "pitcore.prom"
    with RunningService(tmp_path, tiny_bundle, ON.format(port=0, textfile=textfile)) as running:
        told = until(lambda: (now := running.sink("metrics"))["state"] == "failing" and now, "failing output")
        assert told["reason"] == f"{textfile} cannot be written: File exists"
        judged = running.metrics.value("judged")
        until(lambda: running.metrics.value("judged") > judged, "frames, which are judged all the same")
        (tmp_path / "node").unlink()
        until(lambda: running.sink("metrics")["state"] == "ok", "working output")


def test_a_port_in_use_stops_nothing_and_is_opened_as_soon_as_it_is_free(tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr(prometheus, "RETRY_S", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = RunningService(tmp_path, tiny_bundle, ON.format(port=port, textfile=tmp_path / "p.prom"))
        with running:
            until(lambda: running.metrics.value("judged"), "judged frames")
            told = running.sink("metrics")
            assert told["state"] == "failing"
            assert told["reason"] == f"127.0.0.1:{port} cannot be opened for listening: Address already in use"
            taken.close()
            until(lambda: running.sink("metrics")["state"] == "ok", "working output")
            assert samples(scrape(port))["pitcore_frames_judged_total"] > 0


def test_idle_connections_take_no_place_from_prometheus(service):
    port, idle = port_of(service), []
    before, others = open_files(), serving()
    try:
        idle += (socket.create_connection(("127.0.0.1", port), 20) for _ in range(100))
        assert "pitcore_frames_total" in scrape(port)
        until(lambda: open_files() - before - len(idle) <= 2 * MAX_CONNECTIONS, "bounded server")
        until(lambda: serving() - others <= MAX_CONNECTIONS, "bounded threads")
    finally:
        for one in idle:
            one.close()
    assert "pitcore_frames_total" in scrape(port)


def serving():
    """Threads that answer a connection; servers of other tests in this process may have some as well."""
    return sum("process_request" in thread.name for thread in threading.enumerate())


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("sent", [b"\0\xff\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"GET " + b"a" * 70_000])
def test_hostile_requests_get_no_figures_and_leave_no_trace(service, capfd, sent):
    with socket.create_connection(("127.0.0.1", port_of(service)), 20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert b"pitcore_" not in connection.recv(65536)
    assert "pitcore_frames_total" in scrape(port_of(service))
    assert "Traceback" not in capfd.readouterr().err


def test_without_its_package_the_service_runs_and_says_how_to_get_it(tmp_path, tiny_bundle, monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "pitcore.outputs.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with RunningService(tmp_path, tiny_bundle, ON.format(port=0, textfile=tmp_path / "p.prom")) as running:
        until(lambda: running.metrics.value("judged"), "judged frames")
        told = running.sink("metrics")
    assert told["state"] == "failing"
    assert "pip install 'pitcore[metrics]'" in told["reason"]
    assert len([record for record in caplog.records if "prometheus-client is missing" in record.message]) == 1


def test_an_output_that_never_began_can_be_closed():
    output = PrometheusOutput(MetricsConfig(enabled=True, port=0))
    output.close()
    output.close()


class Prometheus:
    """Debian's own server, which scrapes one target every second."""

    def __init__(self, place, target):
        self.port = free_port()
        text = f"""
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [{RULES}]
scrape_configs:
  - job_name: pitcore
    static_configs: [{{ targets: ["127.0.0.1:{target}"] }}]
"""
        (place / "prometheus.yml").write_text(text)
        self._log = (place / "prometheus.log").open("wb")
        self.process = subprocess.Popen(
            [
                need("prometheus", "prometheus"),
                f"--config.file={place / 'prometheus.yml'}",
                f"--storage.tsdb.path={place / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        self._log.close()

    def get(self, path, **query):
        try:
            return json.loads(scrape(self.port, f"/api/v1/{path}?{urllib.parse.urlencode(query)}"))["data"]
        except OSError:
            return None

    def query(self, expression):
        found = self.get("query", query=expression)
        return found and found["result"]

    def firing(self):
        found = self.get("alerts") or {"alerts": []}
        return {alert["labels"]["alertname"]: alert for alert in found["alerts"] if alert["state"] == "firing"}


def queries():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


def test_every_query_of_the_dashboard_returns_data_and_an_alarm_of_the_line_fires(tmp_path, tiny_bundle, pi):
    need("prometheus", "prometheus")
    store = f'[model]\nstore = "{tmp_path / "store"}"\n'
    dark = "[source.disturbance]\nlight = [0.0, 1.0]\nfirst = 150\n"
    text = store + ON.format(port=0, textfile=tmp_path / "p.prom") + VALVES
    with RunningService(tmp_path, None, text, dark) as running, Prometheus(tmp_path, port_of(running)) as server:
        until(lambda: server.query("pitcore_frames_total"), "scrape")
        empty = queries()
        assert len(empty) > 30

        def answered():  # five minutes: on a slow machine only a few scrapes end in their second
            empty[:] = [
                (title, expression)
                for title, expression in empty
                if not server.query(expression.replace("$instance", ".*").replace("$__rate_interval", "5m"))
            ]
            return not empty

        try:
            until(answered, "data for all", pause_s=0.5)
        finally:
            assert empty == []
        alert = until(lambda: server.firing().get("PitcoreAlarm"), "alert that fires", pause_s=0.5)
        assert alert["labels"]["alarm"] in {"light_off", "not_judging"}
        assert alert["labels"]["severity"] == "critical"
        until(lambda: any(alarm.name == "light_off" for alarm in running.app.alarms), "the alarm itself")


CASES = ROOT / "tests" / "outputs" / "rules_test.yml"


def test_each_alert_fires_in_its_case_and_none_on_a_good_line():
    done = subprocess.run(
        [need("promtool", "prometheus"), "test", "rules", CASES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_is_without_a_case():
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules if f'"{rule["alert"]}"' not in CASES.read_text()] == []


def test_the_dashboard_is_one_that_grafana_takes():
    dashboard = json.loads(DASHBOARD.read_text())
    assert (dashboard["uid"], dashboard["schemaVersion"]) == ("pitcore", 39)
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, f"{panel['title']} lies over another panel"
        taken |= cells
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_the_document_has_every_metric_with_its_labels_and_no_other(service, tmp_path, tiny_bundle):
    with_store = f'[model]\nstore = "{tmp_path / "store"}"\n' + ON.format(port=0, textfile=tmp_path / "p.prom")
    (tmp_path / "two").mkdir()
    with RunningService(tmp_path / "two", None, with_store) as running:
        families = list(ServiceCollector(running.commands).collect())
    written = (ROOT / "docs" / "metrics.md").read_text()
    assert written.endswith("|---|---|---|\n" + "".join(map(row, families)))


def row(family):
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in family._labelnames)
    return f"| `{name}` | {labels} | {family.documentation} |\n"
