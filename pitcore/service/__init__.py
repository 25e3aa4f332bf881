"""Integrates `pitcore run` with systemd: readiness, the watchdog, the journal."""
