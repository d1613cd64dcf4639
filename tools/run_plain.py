"Runs one notebook's tests in a Jupyter kernel of this environment, without nbdev."
import argparse, os, sys, warnings
from pathlib import Path

warnings.filterwarnings('ignore', module='jupyter_client|zmq|traitlets')
import nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from notebooks import ROOT, is_run

p = argparse.ArgumentParser(description=__doc__)
p.add_argument('notebook', type=Path)
p.add_argument('--flags', type=str.split, default=[])
args = p.parse_args()

nb = nbformat.read(args.notebook, as_version=4)
nb.cells = [c for c in nb.cells if c.cell_type == 'code' and is_run(c, args.flags)]
os.environ.update(IN_TEST='1', PYTHONPATH=str(ROOT))  # as nbdev_test sets them
kernel = KernelManager(kernel_name='python3')
# A kernel of the same name that the user installed elsewhere would be another Python
kernel.kernel_spec.argv = [sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}']
try: NotebookClient(nb, km=kernel, timeout=None, resources={'metadata': {'path': str(args.notebook.parent)}}).execute()
except CellExecutionError as e: sys.exit(f'{args.notebook}:\n{e}')
