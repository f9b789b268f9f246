"""Comparisons that can be stopped, continued and repeated."""
