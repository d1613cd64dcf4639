"""What a page says of a public name: its docstring, its signature on lines that fit, and a table of parameters and of what it returns.

nbdev prints docments as comments of the signature, where Markdown is not rendered, and guesses types from defaults (`NoneType`)."""
import inspect, re
from functools import cached_property

import nbdev.doclinks, nbdev.processors, nbdev.showdoc
from fastcore.docments import docments
from nbdev.showdoc import BasicMarkdownRenderer

from notebooks import CONFIG

WIDTH = 76  # of a line of a signature
EMPTY = inspect.Parameter.empty
STARS = {inspect.Parameter.VAR_POSITIONAL: '*', inspect.Parameter.VAR_KEYWORD: '**'}
_span = re.compile(r'(`+[^`]+`+)')
_special = re.compile(r'[\\*_<>$@^~|\[\]]')
_object = re.compile(r'<(?:function |class |module )?\'?([\w.<>]+?)\'?(?: object)?(?: at 0x\w+)?>')


def plain(text):
    "A docment as Markdown: what stands in backticks is code, and nothing else of it is markup"
    parts = _span.split(' '.join((text or '').split()))
    return ''.join(o.replace('|', r'\|') if o.startswith('`') else _special.sub(r'\\\g<0>', o) for o in parts)


def shown_default(value):
    "A default as one would type it; functions and other objects by their names"
    said = getattr(value, '__name__', None) or _object.sub(r'\1', repr(value))
    if len(said) <= 40: return said
    return re.sub(r'\(.*', '(…)', said) if re.match(r'\w+\(', said) else f'{said[:39]}…'


def shown_type(anno, default=EMPTY):
    "An annotation without its modules, alternatives apart so that each becomes a link; where there is none, the default's type"
    if anno is EMPTY and default not in (EMPTY, None): anno = type(default)
    if anno in (EMPTY, type(None)): return ''
    said = anno if isinstance(anno, str) else inspect.formatannotation(anno)
    said = re.sub(r'\b(?:\w+\.)+(?=\w)', '', said).replace('NoneType', 'None').strip("'")
    return ' or '.join(f'`{o}`'.replace('|', r'\|') for o in re.split(r'\s*\|\s*(?![^\[]*\])', said))


def unlinked(text): return f'`` {text} ``'.replace('|', r'\|')  # nbdev makes links of names between single backticks


def wrapped(name, parameters):
    "name(a, b=1, …), on several lines where one is too long"
    line = f"{name}({', '.join(parameters)})"
    if len(line) <= WIDTH: return line
    lines = ['']
    for o in parameters:
        if lines[-1] and len(f'    {lines[-1]} {o},') > WIDTH: lines.append('')
        lines[-1] = f'{lines[-1]} {o},'.lstrip()
    return '\n'.join([f'{name}(', *(f'    {o}' for o in lines), ')'])


def table(rows):
    "Rows of texts as a table, the first as its head, without the columns that hold nothing"
    keep = [i for i in range(len(rows[0])) if any(r[i] for r in rows[1:])]
    if len(keep) < 2: return ''
    head, *rest = ['| ' + ' | '.join(r[i] for i in keep) + ' |' for r in rows]
    return '\n'.join([head, '|' + '---|'*len(keep), *rest])


class Page(BasicMarkdownRenderer):
    "Renders a public name for its page"
    def __init__(self, sym, name=None, title_level=3, **kwargs):
        self.is_property = isinstance(sym, (property, cached_property))
        super().__init__(sym.func if isinstance(sym, cached_property) else sym, name=name, title_level=title_level, **kwargs)
        said = docments(self.sym, full=True)
        self.returns = said.pop('return', None)
        self.parameters = {k: v for k, v in said.items() if k not in ('self', 'cls')}
        if inspect.isclass(self.sym) and not any(v.docment for v in self.parameters.values()):  # such as (*args: Any) of a base in another library
            self.parameters = {k: v for k, v in self.parameters.items() if v.kind not in STARS}

    @property
    def signature(self):
        if self.is_property: return self.nm
        named, seen_star = [], False
        for k, v in self.parameters.items():
            if v.kind is inspect.Parameter.KEYWORD_ONLY and not seen_star: named.append('*')
            seen_star = seen_star or v.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL)
            named.append(STARS.get(v.kind, '') + k + ('' if v.default is EMPTY else f'={shown_default(v.default)}'))
        return wrapped(self.nm, named)

    @property
    def table(self):
        rows = [('parameter', 'type', 'default', 'meaning')]
        for k, v in self.parameters.items():
            if v.kind in STARS and not v.docment: continue
            default = '' if v.default is EMPTY else unlinked(shown_default(v.default))
            rows.append((unlinked(STARS.get(v.kind, '') + k), shown_type(v.anno, v.default), default, plain(v.docment)))
        r = self.returns
        if r and not inspect.isclass(self.sym) and (r.docment or r.anno not in (EMPTY, None)): rows.append(('**returns**', shown_type(r.anno), '', plain(r.docment)))
        return table(rows)

    def _repr_markdown_(self):
        source = nbdev.doclinks.NbdevLookup().code(self.fn)
        is_error = inspect.isclass(self.sym) and issubclass(self.sym, Exception)
        docs = self.docs if self.sym.__doc__ else ''  # not that of a base in another library
        if is_error: docs = f"{docs}. A kind of {' and '.join(f'`{o.__name__}`' for o in self.sym.__bases__)}.".lstrip('. ')
        parts = ['---', source and f'[source]({source.removesuffix("#LNone")}){{target="_blank" style="float:right; font-size:smaller"}}', f"{'#'*self.title_level} {self.nm}",
                 docs, not (is_error and not self.parameters) and f'```python\n{self.signature}\n```', self.table and f'::: {{.parameters}}\n\n{self.table}\n\n:::']
        return '\n\n'.join(o for o in parts if o)


def mend_nbdev():
    "Have nbdev print names so, in the order of their cell, and lead `fit` to the function, not to the command of the same name"
    nbdev.showdoc.BasicMarkdownRenderer, names = Page, nbdev.processors._def_names
    nbdev.processors._def_names = lambda cell, shown: names(cell, shown)[::-1]  # each is put before the last one
    strip_libs, incl_libs, skip_mods, ns = nbdev.doclinks.NbdevLookup.__init__.__defaults__
    nbdev.doclinks.NbdevLookup.__init__.__defaults__ = strip_libs, incl_libs, f"{CONFIG['lib_name']}.cli", ns
