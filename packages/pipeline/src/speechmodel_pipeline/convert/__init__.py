"""convert: the trained graph (.pb) -> the file that is served (.pbmm), tried by the runtime before it counts as made.

python -m speechmodel_pipeline.convert                     as a stage: input in STAGE_INPUT
python -m speechmodel_pipeline.convert IN.pb OUT.pbmm      by hand
"""
