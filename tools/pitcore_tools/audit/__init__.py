"""Audits a folder of labelled crops: reports doubtful crops and suggests labels. Changes no crop and no label."""
