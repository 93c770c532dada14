"""A local exchange: REST and archive of a simulated or a recorded market, on one loopback port."""
