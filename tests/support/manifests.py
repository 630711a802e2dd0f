"""The text of a manifest that gives what it must and nothing more."""

MANIFEST = """\
apiVersion: speechops.dev/v1alpha1
kind: SpeechModel
metadata: {name: espejo}
spec:
  language: es
  dataset: {source: {persistentVolumeClaim: {claimName: voices}}}
  publish: {s3: {bucket: models}}
"""
