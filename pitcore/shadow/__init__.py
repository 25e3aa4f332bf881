"""A candidate judges some frames beside the model that decides: disagreements are counted, no verdict is changed.

``beside`` is the service's side, ``candidate_process`` the process that runs the candidate, ``messages`` what they tell
each other. docs/shadow.md is for people.
"""
