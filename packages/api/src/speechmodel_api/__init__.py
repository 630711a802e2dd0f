"""The SpeechModel resource, the documents that its stages exchange, and the CRD generated from them.

Nothing here talks to anything: no cluster, no network, no file but the one that it is asked to write the CRD to.
"""
