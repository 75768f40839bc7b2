"""Qt panels; no logic beyond wiring."""
