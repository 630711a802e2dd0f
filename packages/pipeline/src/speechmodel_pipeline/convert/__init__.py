"""convert: the trained graph (.pb) -> the file that is served (.pbmm), which the runtime tries
first.

python -m speechmodel_pipeline.convert                     as a stage: input in STAGE_INPUT
python -m speechmodel_pipeline.convert IN.pb OUT.pbmm      by hand
"""
