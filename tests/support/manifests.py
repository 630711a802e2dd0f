"""A manifest that gives what it must and nothing more: its text and its dataset."""

from speechmodel_api.dataset_spec import ClaimSource, Dataset, DatasetSource

MANIFEST = """\
apiVersion: speechops.dev/v1alpha1
kind: SpeechModel
metadata: {name: espejo}
spec:
  language: es
  dataset: {source: {persistentVolumeClaim: {claimName: voices}}}
  publish: {s3: {bucket: models}}
"""

DATASET = Dataset(source=DatasetSource(persistent_volume_claim=ClaimSource(claim_name="voices")))
