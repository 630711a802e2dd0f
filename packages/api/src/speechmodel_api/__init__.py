"""The SpeechModel resource, the documents that its stages exchange, and the CRD generated from them.

Nothing in this package reads or writes anything outside the process, except for a variable of its environment, which its
children inherit.
"""

import os

# Before its first class, pydantic would look for plugins in every installed package: a tenth of the imports of a stage.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
