"""Implements `pitcore support`: collects the data to find a fault in one file without secrets."""
