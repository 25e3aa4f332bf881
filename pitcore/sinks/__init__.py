"""Outputs for verdicts: files, PLC, log, memory."""
