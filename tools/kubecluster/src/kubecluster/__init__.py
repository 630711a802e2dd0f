"""A real Kubernetes cluster on one Debian machine, for end-to-end tests.

The names a test needs: `layout.Layout` (where things lie), `cluster` (up, down, running, kubectl), `images`
(build_all), `s3` (ENDPOINT, CREDENTIALS), `audit` (writes), `faults` (kill_service, lose_node, start_node).
README.md beside this package tells how they are used.
"""
