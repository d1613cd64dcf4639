"""Checks that what is made from the notebooks is in step with them: check.py package|clean|readme|docs|site. Changes nothing here.

Exporting and cleaning rewrite files in place, so both are done in a copy, and the copy is compared with the working tree."""
import ast, json, os, re, shutil, subprocess, sys, tempfile
from functools import reduce
from importlib import import_module
from pathlib import Path

import yaml

from notebooks import CONFIG, NBS, ROOT, directives, find_notebooks
from readme import INDEX, README, dead_links, markdown

LIB = Path(CONFIG['lib_path'])
WIDE = 80  # characters of code that fit on a page, beside the button that copies them
MEND = 'run `make export`, look at the change, and commit it with the notebook'


def in_copy(command, tmp):
    "Run an nbdev command in a copy of settings, notebooks and package; the copy's root"
    copy = Path(tmp)/'copy'
    copy.mkdir()
    shutil.copy2(ROOT/'settings.ini', copy)
    for nb in find_notebooks():
        to = copy/nb.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(nb, to)
    (copy/LIB).mkdir()
    if (ROOT/LIB/'__init__.py').exists(): shutil.copy2(ROOT/LIB/'__init__.py', copy/LIB)
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}  # nbdev exports nothing where it is set
    r = subprocess.run([Path(sys.executable).parent/command], cwd=copy, env=env, capture_output=True, text=True)
    if r.returncode: sys.exit(f'{command} failed:\n{r.stdout}{r.stderr}')
    return copy


def content(path):
    "What a module says; nbdev's index as a value, since its line breaks depend on Python's version"
    if not path.exists(): return None
    text = path.read_text(encoding='utf-8')
    return ast.literal_eval(text.split('d = ', 1)[1]) if path.name == '_modidx.py' else text


def package(tmp):
    "Modules that differ from what the notebooks export"
    copy = in_copy('nbdev_export', tmp)
    for n in sorted({p.relative_to(r) for r in (copy, ROOT) for p in (r/LIB).rglob('*.py')}):
        new, old = content(copy/n), content(ROOT/n)
        if new == old: continue
        if new is None: yield f'{n} comes from no notebook: remove it'
        else: yield f"{n} {'is missing' if old is None else 'is not what the notebooks export'}: {MEND}"


def clean(tmp):
    "Notebooks that nbdev_clean would change"
    copy = in_copy('nbdev_clean', tmp)
    for nb in find_notebooks():
        n = nb.relative_to(ROOT)
        if nb.read_bytes() != (copy/n).read_bytes(): yield f'{n} is not clean: {MEND}'


def readme(tmp):
    "README.md, where it differs from what the front page makes"
    if not README.exists() or README.read_text(encoding='utf-8') != markdown(): yield f'README.md is not what {INDEX.relative_to(ROOT)} makes: {MEND}'


def signature_lines(page):
    "The lines of code of a name's page"
    return [o for code in re.findall(r'```python\n(.*?)\n```', page, re.S) for o in code.splitlines()]


def docs(tmp):
    "Public names that nbdev cannot document, at which building the site would stop, and signatures that a page cannot show"
    from nbdev.showdoc import show_doc
    from signatures import mend_nbdev
    mend_nbdev()
    sys.path.insert(0, str(ROOT))
    for module, names in content(in_copy('nbdev_export', tmp)/LIB/'_modidx.py')['syms'].items():
        for name in names:
            path = name.removeprefix(f'{module}.').split('.')
            if any(o.startswith('_') for o in path): continue
            try: page = show_doc(reduce(getattr, path, import_module(module)))._repr_markdown_()
            except Exception as e: yield f'{name} cannot be documented: {type(e).__name__}: {e}'; continue
            for line in signature_lines(page):
                if len(line) > 80 or 'NoneType' in line or '`' in line or '#' in line: yield f'{name} has a signature that its page cannot show: {line}'


def pages(item):
    "The files that an entry of the sidebar names"
    if isinstance(item, str): yield item
    elif isinstance(item, list): yield from (p for o in item for p in pages(o))
    else: yield from pages(item.get('contents') or item.get('href', []))


def title_trouble(cell):
    "What of a notebook's first cell would not reach its page: nbdev takes a title and one line of summary from it, and drops the rest"
    said = ''.join(cell['source'])
    if cell['cell_type'] != 'markdown' or not said.startswith('# '): return 'does not begin with a cell that says `# Title`, then `> summary`'
    title, *rest = [o for o in said.splitlines() if o.strip()]
    if not rest or not rest[0].startswith('> '): return f'has no summary: a line `> …` under `{title}`'
    if rest[1:]: return f'says more than title and summary in its first cell, which nbdev drops; give it a cell of its own: {rest[1][:60]}'


def imports_tests(cell):
    "Does a page begin with what only its tests need?"
    return cell['cell_type'] == 'code' and 'hide' not in directives(cell) and 'from fastcore.test import' in ''.join(cell['source'])


def wide_lines(cell):
    "Lines of code that a page shows and that are too long for it: in visible code cells, and in fences of text"
    if {'hide', 'export', 'exporti', 'default_exp'} & set(directives(cell)): return
    shown = cell['cell_type'] == 'code'
    for line in ''.join(cell['source']).splitlines():
        if cell['cell_type'] != 'code' and line.startswith('```'): shown = not shown
        elif shown and len(line) > WIDE: yield line


def site(tmp):
    "Pages that would lose text or show lines that are too long, notebooks without a line in the sidebar, lines without a notebook, and links that lead nowhere"
    for nb in find_notebooks():
        cells = json.loads(nb.read_text(encoding='utf-8'))['cells']
        wrong = title_trouble(cells[0])
        if wrong: yield f'{nb.relative_to(ROOT)} {wrong}'
        if any(imports_tests(c) for c in cells): yield f'{nb.relative_to(ROOT)} shows an import of fastcore.test: hide that cell'
        for o in (o for c in cells for o in wide_lines(c)): yield f'{nb.relative_to(ROOT)} shows a line of {len(o)} characters, more than {WIDE}: {o.strip()}'
    sidebar = yaml.safe_load((NBS/'sidebar.yml').read_text(encoding='utf-8'))['website']['sidebar']
    named = set(pages(sidebar['contents']))
    for nb in find_notebooks():
        if nb.relative_to(NBS).as_posix() not in named: yield f'nbs/sidebar.yml has no line for {nb.relative_to(NBS)}'
    for o in sorted(named):
        if not (NBS/o).exists(): yield f'nbs/sidebar.yml names {o}, which is not there'
    for nb in find_notebooks():
        for o in dead_links(nb): yield f'{nb.relative_to(ROOT)} links to {o}, which is not there'


if __name__ == '__main__':
    check = {f.__name__: f for f in (package, clean, readme, docs, site)}[sys.argv[1]]
    with tempfile.TemporaryDirectory() as tmp: wrong = list(check(tmp))
    if wrong: sys.exit('\n'.join(wrong))
