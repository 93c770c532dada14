"""Choosing indicator lengths inside a training window, resumably and reproducibly."""
