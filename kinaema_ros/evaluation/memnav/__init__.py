"""Mem-Nav: drive to photos of places that the memory has seen."""
