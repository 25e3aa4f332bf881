"""What makes `pitcore run` a good service under systemd: readiness, the watchdog, the journal."""
