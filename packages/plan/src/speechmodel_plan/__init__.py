"""Pure: what was observed -> what is to be done and said. No clock, no network, no file; the same for cluster and laptop."""
