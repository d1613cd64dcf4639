"""Checks that what is made from the notebooks is in step with them: check.py package|clean|readme. Changes nothing here.

Exporting and cleaning rewrite files in place, so both are done in a copy, and the copy is compared with the working tree."""
import ast, os, shutil, subprocess, sys, tempfile
from pathlib import Path

from notebooks import CONFIG, NBS, ROOT, find_notebooks

LIB = Path(CONFIG['lib_path'])


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
    names = {p.relative_to(r) for r in (copy, ROOT) for p in (r/LIB).rglob('*.py')}
    for n in sorted(names):
        new, old = content(copy/n), content(ROOT/n)
        if new == old: continue
        why = 'is missing' if old is None else 'comes from no notebook' if new is None else 'is not what the notebooks export'
        yield f'{n} {why}'


def clean(tmp):
    "Notebooks that nbdev_clean would change"
    copy = in_copy('nbdev_clean', tmp)
    for nb in find_notebooks():
        n = nb.relative_to(ROOT)
        if nb.read_bytes() != (copy/n).read_bytes(): yield f'{n} is not clean'


def readme(tmp):
    "README.md, where it differs from what the front page makes"
    from readme import README, markdown
    if not README.exists(): yield 'README.md is missing'
    elif README.read_text(encoding='utf-8') != markdown(): yield f'README.md is not what {NBS.name}/{CONFIG.get("readme_nb", "index.ipynb")} makes'


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as tmp:
        wrong = [o for what in sys.argv[1:] for o in {'package': package, 'clean': clean, 'readme': readme}[what](tmp)]
    if wrong: sys.exit('\n'.join(wrong) + '\nRun `make export`, look at the change, and commit it with the notebook.')
