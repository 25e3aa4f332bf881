"""The belt: what was seen in one frame is matched with the frames before it."""
