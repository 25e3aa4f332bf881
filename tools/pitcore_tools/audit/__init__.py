"""Audit: what is odd about a folder of labelled crops. It reports and suggests; it changes no crop and no label."""
