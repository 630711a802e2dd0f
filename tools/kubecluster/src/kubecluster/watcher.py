"""Take the cluster down when standard input ends, as it does when the writer in `cluster.running` dies."""

import sys

from kubecluster import cluster
from kubecluster.layout import Layout

if __name__ == "__main__":
    sys.stdin.read()
    cluster.down(Layout.default())
