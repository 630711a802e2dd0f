"""S3 for prepare, publish, fetch and purge: a connection, verified objects, folders, and errors with advice."""
