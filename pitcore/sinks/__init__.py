"""Outputs for verdicts on this machine: files, log, memory."""
