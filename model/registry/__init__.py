"""Versions on disk, who is champion."""
