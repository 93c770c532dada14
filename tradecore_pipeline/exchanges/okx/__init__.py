"""OKX: linear perpetual swaps, from bulk files and REST."""
