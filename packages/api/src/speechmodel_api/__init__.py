"""The SpeechModel resource, the documents that its stages exchange, and the CRD generated from them.

Nothing in this package reads or writes anything outside the process.
"""
