"""S3 credentials: the keys of the Secret that grants access to a bucket.

They are also the names of the environment variables that the AWS SDK reads.
"""

REQUIRED_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Keys that the Secret must have."""
OPTIONAL_KEYS = ("AWS_SESSION_TOKEN",)
"""Keys that the Secret may have, for temporary credentials."""
