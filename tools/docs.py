"""Builds the site into _docs/, or serves it while you write: docs.py build|preview.

These are nbdev's own commands, with three of their habits put right. They install Quarto by sudo where it is missing; here they stop.
To document a name they run every cell that imports something, whatever else it does, which fails where a test imports what it
compares with; here only exported cells and plain imports are run. And names are printed as signatures.py says."""
import ast, shutil, sys

import nbdev.processors, nbdev.quarto

from readme import README, markdown
from signatures import mend_nbdev

if not shutil.which('quarto'): sys.exit('Quarto is not on the PATH')
nbdev.quarto._ensure_quarto = lambda: None
needed = nbdev.processors._do_eval


def without_tests(cell):
    "Does documenting the names of a notebook need this code cell?"
    if not needed(cell): return False
    if {'export', 'exports', 'exporti', 'exec_doc'} & set(cell.directives_) or nbdev.processors._show_docs(cell.parsed_()): return True
    return all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in cell.parsed_())


nbdev.processors._do_eval = without_tests
mend_nbdev()
README.write_text(markdown(), encoding='utf-8')  # newer than its notebook, so that nbdev does not make it again its own way
command = {'build': nbdev.quarto.nbdev_docs, 'preview': nbdev.quarto.nbdev_preview}[sys.argv[1]]
command.__wrapped__(n_workers=0)  # in this process, where the change above holds
