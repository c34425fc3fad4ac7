"""Holdfast beside other people's libraries. Nothing in here is imported by the rest of the package."""
