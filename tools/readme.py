"""Writes README.md from nbs/index.ipynb.

nbdev makes it with Quarto, which is not to be had everywhere, and whose output changes with its version. This makes it with nbconvert,
the same on every machine, so that a test can hold the two in step (`make test`). Cells marked `#| hide` are left out, directives
stripped, links to notebooks lead to the site, and pictures are shown from where they lie in the repository."""
import re, sys

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

from notebooks import CONFIG, NBS, ROOT, directives

INDEX, README = NBS/CONFIG.get('readme_nb', 'index.ipynb'), ROOT/'README.md'
SITE = f"{CONFIG['doc_host']}{CONFIG['doc_baseurl']}/"
NOTE = f'<!-- Made from {INDEX.relative_to(ROOT).as_posix()} by `make export`: change it there. -->\n\n'
_link = re.compile(r'(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)')
_code = re.compile(r'(```.*?```)', re.S)
_pages = re.compile(r'\[[^\]\n]*\]\([^)\s]+\.(?:html|ipynb|md)(?:#[^)\s]*)?\)')  # in code only these are links
_site = re.compile(rf'\]\(({re.escape(SITE)}[^)\s]*)\)')


def page_name(name):
    "The page that nbdev makes of a notebook or a Markdown file: without its number"
    return re.sub(r'\.(ipynb|qmd|md)$', '.html', re.sub(r'^\d+[a-zA-Z0-9]*_', '', name.lower()))


def absolute(m):
    "A link within nbs/ as one that works from anywhere"
    if m[1]: return f'![{m[2]}]({(NBS/m[3]).resolve().relative_to(ROOT).as_posix()})'
    folder, slash, name = m[3].rpartition('/')
    return f"[{m[2]}]({SITE}{folder}{slash}{page_name(name)}{m[4] or ''})"


def shown(cell):
    "The cell as a reader of README.md sees it; None if not at all"
    if cell.cell_type == 'raw' or 'hide' in directives(cell): return None
    if cell.cell_type == 'code':
        cell.source = re.sub(r'\A(\s*#\s*\|.*\n?)+', '', cell.source)
        cell.outputs = [o for o in cell.outputs if o.get('name') != 'stderr' and not any('widget' in k for k in o.get('data', ()))]  # no progress bars
    else: cell.source = ''.join(o if o.startswith('```') else _link.sub(absolute, o) for o in _code.split(cell.source))
    return cell


def markdown():
    "What README.md should say"
    nb = nbformat.read(INDEX, as_version=4)
    nb.cells = [c for c in map(shown, nb.cells) if c]
    nb.metadata['language_info'] = {'name': 'python'}  # nbdev_clean takes it out; it names the language of a code block
    # Tables as text: README.md is read in terminals too, and GitHub shows pandas' style sheet
    exporter = MarkdownExporter(config=Config(NbConvertBase={'display_data_priority': ['text/markdown', 'image/svg+xml', 'image/png', 'text/plain']}))
    text, resources = exporter.from_notebook_node(nb)
    if resources.get('outputs'): sys.exit(f'{INDEX.name}: a cell shows a picture; store it under {NBS.name}/images and show that instead')
    return NOTE + re.sub(r'\n{3,}', '\n\n', re.sub(r'[ \t]+$', '', text, flags=re.M)).strip() + '\n'


def leads_somewhere(target, nb):
    "Is there a file or a page at `target`, as the page of notebook `nb` names it?"
    if target.startswith(SITE): folder, target = NBS, target.removeprefix(SITE).partition('#')[0]
    else: folder = nb.parent
    path = (folder/target).resolve()
    if path.suffix != '.html': return path.exists()
    return any(page_name(o.name) == path.name for e in ('*.ipynb', '*.md') for o in path.parent.glob(e))


def dead_links(nb=INDEX):
    "Links in the text and the docstrings of a notebook to files and pages that are not there"
    for c in nbformat.read(nb, as_version=4).cells:
        text = _code.sub('', c.source) if c.cell_type == 'markdown' else ' '.join(_pages.findall(c.source))
        for o in [m[3] for m in _link.finditer(text)] + _site.findall(text):
            if not leads_somewhere(o, nb): yield o


if __name__ == '__main__': README.write_text(markdown(), encoding='utf-8')
