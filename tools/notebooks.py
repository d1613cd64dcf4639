"Which notebooks there are and which of their cells a test runs: nbdev's rules, for where nbdev is not installed."
import json, re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_ini = ConfigParser()
_ini.read(ROOT/'settings.ini', encoding='utf-8')
CONFIG = _ini['DEFAULT']
NBS = ROOT/CONFIG['nbs_path']
_directive = re.compile(r'\s*#\s*\|\s*(.*)')


def find_notebooks(names=()):
    "The project's notebooks whose name holds one of `names`, tutorials first since they take longest"
    nbs = [p for p in NBS.rglob('*.ipynb') if not any(o[0] in '._' for o in p.relative_to(NBS).parts)]
    nbs = [p for p in nbs if not names or any(Path(n).stem in p.stem for n in names)]
    return sorted(nbs, key=lambda p: (p.parent.name != 'tutorials', p))


def directives(cell):
    "The `#|` lines that open a code cell: {name: arguments}"
    found = {}
    if cell['cell_type'] != 'code': return found
    for line in ''.join(cell['source']).splitlines():
        m = _directive.match(line)
        if m:
            name, _, rest = m[1].strip().replace(':', ' ').partition(' ')
            if name: found[name] = rest.split()
        elif line.strip() and not re.match(r'\s*%%\w', line): break
    return found


def is_run(cell, flags=()):
    "Does a test run this code cell, given the flags asked for?"
    d = directives(cell)
    return d.get('eval') != ['false'] and not (set(CONFIG['tst_flags'].split()) - set(flags)) & set(d)


def code_cells(path, flags=()):
    "The code cells of notebook `path`: those that a test runs, and those that it does not"
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    first = next((''.join(c['source']) for c in cells if c['cell_type'] in ('raw', 'markdown')), '')
    code = [c for c in cells if c['cell_type'] == 'code' and ''.join(c['source']).strip()]
    if re.search(r'^(?:- )?skip_exec:\s*true', first, re.M | re.I): return [], code
    return [c for c in code if is_run(c, flags)], [c for c in code if not is_run(c, flags)]
