"""The training commands and their flags."""
