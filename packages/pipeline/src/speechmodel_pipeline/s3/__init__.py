"""S3 for publish, fetch and purge: a connection, verified objects, and errors with advice."""
