"""Credentials of the stage programs: keys of Secrets, and the environment variables that hold them. A variable has the
name of its key, or that name after a prefix.

The names of S3 credentials are those that the AWS SDK reads.
"""

REQUIRED_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Keys that the Secret of a bucket must have."""
CA_BUNDLE = "AWS_CA_BUNDLE"
"""Variable with the path of a file of CAs, in PEM, that boto3 trusts instead of the public ones."""
OPTIONAL_KEYS = ("AWS_SESSION_TOKEN",)
"""Keys that the Secret of a bucket may have, for temporary credentials."""
NEGATIVES = "NEGATIVES_"
"""Prefix of the variables that hold the keys of dataset.negatives.source.s3, such as NEGATIVES_AWS_ACCESS_KEY_ID. The keys
of dataset.source.s3 may be in the same environment."""
S3_KEYS = (*REQUIRED_KEYS, *OPTIONAL_KEYS)
SIGNING_KEY = "SIGNING_KEY"
"""Key of the Secret that holds the private key of publish.signing."""
