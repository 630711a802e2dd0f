"""Shared by all tests: worlds, clusters, servers, and waiting. Imported as `support` through pytest's `pythonpath`."""
