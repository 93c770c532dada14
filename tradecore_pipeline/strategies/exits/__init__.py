"""Exits: when to close one."""
