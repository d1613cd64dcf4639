"""Holds the README's main job to its word: main_job.py same|run.

`same`: its lines are those of the first tutorial, and the commands beside them say the same in a terminal.
`run`: the lines, run as they stand there in a folder of their own, beat a ridge regression on every stain of the wells held out."""
import ast, os, re, shlex, sys, tempfile

from notebooks import NBS, ROOT, code_cells

TUTORIAL = NBS/'tutorials'/'01_first_stain.ipynb'
MARGIN = .15  # of the Pearson correlation over that of the ridge regression: luck does not reach it
CALLS = dict(synth_plate='synth', split='split', preprocess='preprocess', fit='fit', predict='predict', evaluate='evaluate', export_onnx='export')


def block(language):
    "The README's first code block of a language under the heading The main job"
    section = re.search(r'^## The main job\n(.*?)^## ', (ROOT/'README.md').read_text(encoding='utf-8'), re.M | re.S)[1]
    return re.search(rf'^```{language}\n(.*?)^```', section, re.M | re.S)[1]


def statements(code):
    "The statements of some code, whatever their comments and line breaks"
    return [ast.unparse(o) for o in ast.parse(code).body]


def names(code):
    "Names that some code imports or sets"
    nodes = list(ast.walk(ast.parse(code)))
    imported = {a.name for o in nodes if isinstance(o, ast.ImportFrom) for a in o.names}
    return imported | {o.id for o in nodes if isinstance(o, ast.Name) and isinstance(o.ctx, ast.Store)}


def touches(statement, known):
    "Does a statement import, set or call one of these names?"
    calls = {o.func.id for o in ast.walk(ast.parse(statement)) if isinstance(o, ast.Call) and isinstance(o.func, ast.Name)}
    return bool(known & (calls | names(statement)))


def in_python(code):
    "The commands that stand for the calls in some code: {command: keywords whose value is written out}"
    found = {}
    for o in ast.walk(ast.parse(code)):
        if not isinstance(o, ast.Call): continue
        command = CALLS.get(getattr(o.func, 'id', getattr(o.func, 'attr', None)))
        if command: found[command] = {k.arg: ast.literal_eval(k.value) for k in o.keywords}
    return found


def in_shell(lines):
    "The same for lines of a terminal, with the defaults of what they leave out"
    sys.path.insert(0, str(ROOT))
    from vstain.cli import build_parser, parameters
    found = {}
    for line in lines.replace('\\\n', ' ').splitlines():
        _, command, *rest = shlex.split(line, comments=True)
        found[command] = {k: p.default for k, p in parameters(command).items()} | vars(build_parser(command).parse_args([command, *rest]))
    return found


def plain(value):
    "A value as text, one alone like a list of one"
    return ' '.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def same():
    "What differs between README and tutorial, and between the README's Python and its shell"
    readme = statements(block('python'))
    lines = [s for c in code_cells(TUTORIAL)[0] for s in statements(''.join(c['source']))]
    tutorial = [s for s in lines if s in readme or touches(s, names(block('python')))]
    yield from (f'only in README.md: {s}' for s in readme if s not in tutorial)
    yield from (f'only in {TUTORIAL.name}: {s}' for s in tutorial if s not in readme)
    if sorted(readme) == sorted(tutorial) and readme != tutorial: yield f'README.md and {TUTORIAL.name} say the same in another order'
    python, shell = in_python(block('python')), in_shell(block('sh'))
    if list(python) != list(shell): yield f"README.md: {', '.join(python)} in Python, {', '.join(shell)} in a terminal"
    for command in python.keys() & shell.keys():
        for k, v in python[command].items():
            if plain(shell[command].get(k)) != plain(v): yield f'README.md: {command}: {k} is {v} in Python, {shell[command].get(k)} in a terminal'


def run():
    "Stains on which the network does not beat the ridge regression, in a run of the README's lines"
    sys.path.insert(0, str(ROOT))
    job = {}
    with tempfile.TemporaryDirectory() as tmp:
        os.chdir(tmp)
        exec(compile(block('python'), 'README.md', 'exec'), job)
        os.chdir(ROOT)
    network, ridge = (job[k][job[k].dims == '3D'].groupby('channel')[['pearson', 'nrmse']].mean() for k in ('scores', 'ridge'))
    print(network.join(ridge.add_suffix(' of ridge')).to_string())
    for stain in network.index:
        if network.pearson[stain] < ridge.pearson[stain] + MARGIN or not network.nrmse[stain] < ridge.nrmse[stain]: yield f'{stain} is no better than a ridge regression'


if __name__ == '__main__':
    wrong = list({f.__name__: f for f in (same, run)}[sys.argv[1]]())
    if wrong: sys.exit('\n'.join(wrong))
