"""S3, as publish, fetch and purge use it: a connection, objects that are verified, and errors that say what to do."""
