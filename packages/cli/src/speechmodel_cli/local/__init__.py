"""The local engine: the same plan as on a cluster, made true by subprocesses on this machine."""
