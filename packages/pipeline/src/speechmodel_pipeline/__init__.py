"""The stage programs that need no TensorFlow: prepare, convert, evaluate, publish, fetch and purge.

Each is a module that is a program, `python -m speechmodel_pipeline.<stage>`, and says in its docstring what it promises.
"""

from speechmodel_stagekit.early import end_on_sigterm

end_on_sigterm()
