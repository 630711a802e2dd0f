"""Names of the keys in the Secret that grants access to a bucket."""

CREDENTIALS = {"AWS_ACCESS_KEY_ID": False, "AWS_SECRET_ACCESS_KEY": False, "AWS_SESSION_TOKEN": True}
"""Keys of a Secret that opens a bucket -> whether they may be missing."""
