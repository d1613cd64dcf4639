"Runs one notebook's tests in a Jupyter kernel of this environment, without nbdev."
import argparse, os, sys, tempfile
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from notebooks import ROOT, is_run

p = argparse.ArgumentParser(description=__doc__)
p.add_argument('notebook', type=Path)
p.add_argument('--flags', type=str.split, default=[])
p.add_argument('--timeout', type=int, default=None, help='seconds a cell may take')
args = p.parse_args()

nb = nbformat.read(args.notebook, as_version=4)
nb.cells = [c for c in nb.cells if c.cell_type == 'code' and is_run(c, args.flags)]
os.environ.update(IN_TEST='1', PYTHONPATH=str(ROOT))  # as nbdev_test sets them
with tempfile.TemporaryDirectory() as tmp:
    kernel = AsyncKernelManager(kernel_name='python3', transport='ipc', connection_file=f'{tmp}/kernel.json')
    # A kernel of the same name that the user installed elsewhere would be another Python
    kernel.kernel_spec.argv = [sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}']
    run = NotebookClient(nb, km=kernel, timeout=args.timeout, resources={'metadata': {'path': str(args.notebook.parent)}})
    try: run.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as e: sys.exit(f'{args.notebook}:\n{e}')
