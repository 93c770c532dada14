"""Ways into other people's tools; each needs an extra of its own, and nothing imports it at start."""
