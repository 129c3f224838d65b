"""Training, the only room with torch: bases, adapters, the probe, back ends and held-out evaluation."""
