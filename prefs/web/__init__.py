"""HTTP. Nobody below knows it."""
