"""Runs the notebooks' tests, each notebook in a process of its own, and ends with one line: N passed, N failed.

`make test` checks first that the package, the notebooks and README.md are in step, then runs nbdev_test on each notebook.
With --plain a Jupyter kernel runs the same cells instead, for an environment without nbdev (`make test-latest`).
A notebook that crashes or hangs fails; it does not take the others with it."""
import argparse, os, random, resource, signal, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from notebooks import ROOT, code_cells, find_notebooks

TOOLS, BIN = Path(__file__).parent, Path(sys.executable).parent
CHECKS = {'package': 'the package is what the notebooks export', 'clean': 'the notebooks are clean',
          'readme': 'README.md is what the front page makes', 'docs': 'every public name can be documented', 'site': 'every page has its place on the site'}
MAIN_JOB = {'run': "README.md's main job, run as it stands there", 'same': "README.md's main job is the first tutorial's, in Python and in a terminal"}
LONG = (MAIN_JOB['run'], 'nbs/tutorials/01_first_stain.ipynb')
# One thread a process by default: the processes share the cores. Results must not depend on it, so --threads can say another number
THREADS = [f'{o}_NUM_THREADS' for o in ('OMP', 'MKL', 'OPENBLAS', 'VECLIB_MAXIMUM', 'NUMEXPR')]


running = set()


def stop(p, how=signal.SIGKILL):
    "Signal process `p` and its children"
    try: os.killpg(p.pid, how)
    except (ProcessLookupError, PermissionError): pass  # all of it has ended


def run(command, timeout, tmp, threads):
    "Run `command`, its children ended with it: (did it succeed, what it said, seconds)"
    tmp.mkdir()
    env = {**os.environ, **dict.fromkeys(THREADS, str(threads)), 'PYTHONFAULTHANDLER': '1', 'TMPDIR': str(tmp), 'PATH': f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    start, why = time.time(), ''
    p = subprocess.Popen([str(o) for o in command], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, errors='replace', start_new_session=True)
    running.add(p)
    try: said = p.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        why = f'\nStopped after {timeout} s (--timeout); above is where it was.'
        stop(p, signal.SIGABRT)  # faulthandler then says where
        try: said = p.communicate(timeout=5)[0]
        except subprocess.TimeoutExpired: stop(p); said = p.communicate()[0]
    stop(p)
    running.discard(p)
    if p.returncode < 0 and not why: why = f'\nEnded by {signal.Signals(-p.returncode).name}.'
    return p.returncode == 0, (said + why).strip(), time.time() - start


def jobs(args):
    "(name, command) of every check and notebook to run, those that train first, and the names of notebooks with nothing to run"
    todo, skipped = [], []
    if not args.notebooks or any(Path(n).stem == 'README' for n in args.notebooks):
        todo += [(says, [sys.executable, TOOLS/'main_job.py', what]) for what, says in MAIN_JOB.items()]
    if not args.plain and not args.notebooks:
        todo += [(says, [sys.executable, TOOLS/'check.py', what]) for what, says in CHECKS.items()]
    for nb in find_notebooks(args.notebooks):
        name = nb.relative_to(ROOT).as_posix()
        run_cells, left_out = code_cells(nb, args.flags)
        if not run_cells: skipped += [name] if left_out else []  # prose alone is no test
        elif args.plain: todo.append((name, [sys.executable, TOOLS/'run_plain.py', nb, '--flags', ' '.join(args.flags), '--timeout', max(1, args.timeout - 5)]))
        else: todo.append((name, [BIN/'nbdev_test', '--path', nb, '--flags', ' '.join(args.flags)]))
    if args.shuffle is not None: random.Random(args.shuffle).shuffle(todo)
    return todo, skipped


def emulated():
    "Is bfloat16 asked for on a processor that has none?"
    if os.environ.get('VSTAIN_BF16') != '1': return False
    env = {k: v for k, v in os.environ.items() if k != 'VSTAIN_BF16'}
    asked = [sys.executable, '-c', 'from vstain.callbacks import computes_bf16; print(computes_bf16())']
    return 'True' not in subprocess.run(asked, cwd=ROOT, env=env, capture_output=True, text=True).stdout


def seed(text):
    "A seed as it is written, or a new one for 'random'"
    return random.randrange(10**6) if text == 'random' else int(text)


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('notebooks', nargs='*', help='names, or parts of names, or README; all without')
    p.add_argument('--plain', action='store_true', help='run in a Jupyter kernel, without nbdev')
    p.add_argument('--flags', type=str.split, default=[], help="flagged cells to run as well, such as 'slow network'")
    p.add_argument('--workers', type=int, default=2, help='notebooks at once (default: 2)')
    p.add_argument('--timeout', type=int, help='seconds a notebook may take (default: 600, or 3600 with --flags)')
    p.add_argument('--threads', type=int, default=1, help='threads of each notebook (default: 1)')
    p.add_argument('--shuffle', type=seed, nargs='?', const='random', metavar='SEED', help='run in a random order, which the seed repeats')
    args = p.parse_args()
    if args.threads < 1 or args.workers < 1: p.error('--threads and --workers take a number from 1')
    args.timeout = args.timeout or (3600 if args.flags else 600)
    todo, skipped = jobs(args)
    if any(name in LONG for name, _ in todo) and emulated():
        print('bfloat16 is emulated here: ' + ' and '.join(LONG) + ' train as this processor does, or they would take hours', flush=True)
        todo = [(name, ['env', '-u', 'VSTAIN_BF16', *command] if name in LONG else command) for name, command in todo]
    if not todo and not skipped: sys.exit(f"No notebook with code is called anything like {' '.join(args.notebooks)}")
    settings = [f'{args.threads} threads' if args.threads > 1 else '', f"VSTAIN_BF16={os.environ['VSTAIN_BF16']}" if os.environ.get('VSTAIN_BF16') else '',
                f'order --shuffle {args.shuffle}' if args.shuffle is not None else '']
    if any(settings): print('with ' + ', '.join(o for o in settings if o), flush=True)
    failed = []
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix='vstain-', ignore_cleanup_errors=True) as tmp, ThreadPoolExecutor(args.workers) as pool:
        started = [(name, pool.submit(run, command, args.timeout, Path(tmp)/str(i), args.threads)) for i, (name, command) in enumerate(todo)]
        try:
            for name, job in started:
                ok, said, seconds = job.result()
                print(f"{'passed' if ok else 'FAILED'} {seconds:6.1f} s  {name}", flush=True)
                if not ok: failed.append(name); print(f'\n{said}\n', flush=True)
        except (KeyboardInterrupt, SystemExit):
            pool.shutdown(wait=False, cancel_futures=True)
            for p in list(running): stop(p)
            sys.exit('Interrupted')
    for name in skipped: print(f'skipped           {name} (nothing to run)')
    if failed: print('\nFailed: ' + ', '.join(failed))
    print(f'{len(todo) - len(failed)} passed, {len(failed)} failed' + (f', {len(skipped)} skipped' if skipped else ''))
    sys.exit(bool(failed))


if __name__ == '__main__': main()
