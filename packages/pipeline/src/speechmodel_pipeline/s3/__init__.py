"""S3 for prepare, download, publish, fetch and purge: a connection, verified objects, folders, and errors with advice."""
