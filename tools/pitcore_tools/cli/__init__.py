"""``pitcore-tools``: one file a command."""
