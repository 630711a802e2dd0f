"""A real Kubernetes cluster on one Debian machine, for end-to-end tests.

A test uses `layout.Layout` (directories), `cluster` (up, down, running, kubectl), `images` (build_all),
`s3` (ENDPOINT, CREDENTIALS), `audit` (writes) and `faults` (kill_service, lose_node, start_node).
README.md of this package shows how.
"""
