"""Manifests: read as kubectl reads them, checked as the API server checks them, with the line of every problem."""
