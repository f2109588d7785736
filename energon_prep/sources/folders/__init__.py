"""Folders of loose images and videos."""
