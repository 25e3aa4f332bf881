"""Where the time goes: a roofline of this machine, and what the boards are predicted to do."""
