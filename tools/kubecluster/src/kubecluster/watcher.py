"""Take the cluster down once standard input ends, which the kernel sees to when its writer dies: `cluster.running`."""

import sys

from kubecluster import cluster
from kubecluster.layout import Layout

if __name__ == "__main__":
    sys.stdin.read()
    cluster.down(Layout.default())
