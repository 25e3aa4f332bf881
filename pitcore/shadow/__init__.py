"""Lets a candidate model judge some frames in addition: disagreements are counted, no verdict is changed.

``beside`` is the service's side, ``candidate_process`` runs the candidate in its own process, and ``messages`` defines
the messages between them. docs/shadow.md is the user's guide.
"""
