"""convert: the trained graph (.pb) -> the file that is served (.pbmm), which the runtime tries
first, and the same network for ONNX Runtime, which must give the same scores.

python -m speechmodel_pipeline.convert                     as a stage: input in STAGE_INPUT
python -m speechmodel_pipeline.convert IN.pb OUT.pbmm      by hand
"""
