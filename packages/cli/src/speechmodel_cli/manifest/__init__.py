"""Manifests are read as kubectl reads them and checked as the API server checks them, with the line of every problem."""
