"""Names of the files that stages leave for each other, as speechmodel_api.stages tells them."""

GRAPH = "output_graph.pb"
MODEL = "output_graph.pbmm"
REPORT = "report.json"
SELFTEST = "selftest.wav"
VERSION = "version.json"
