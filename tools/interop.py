"""Writes one of each thing that this library writes, checks it with ome-zarr-models, and opens it in other programs:
ngio, ome-zarr-py, iohub 0.2.3 and 0.3, dask, bioio and napari's reader, each in a virtual environment of its own.

    python tools/interop.py                 # environments in a temporary folder, removed at the end
    python tools/interop.py --envs FOLDER   # kept there, and used again
    python tools/interop.py --only ngio dask

Nothing is installed into the environment that runs this. A program opens what it has a reader for; it is compared in shape,
scale, channel names and one voxel. Prints a table and ends with 1 where something differs."""
import argparse, json, shutil, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAMS = {'ngio': ['ngio==1.1.3'], 'ome-zarr-py': ['ome-zarr'], 'iohub-0.2.3': ['iohub==0.2.3'], 'iohub-0.3': ['iohub==0.3.0a7'],
            'dask': ['dask[array]', 'zarr>=3'], 'bioio-ome-zarr': ['bioio', 'bioio-ome-zarr'], 'napari-ome-zarr': ['napari-ome-zarr']}

# Each opens the image at `path` and gives (shape TCZYX, scale (z, y, x), channel names, voxels as an array TCZYX), None for what it does not tell
READERS = {
'ngio': """
from ngio import open_ome_zarr_container
def read(path, labels):
    c = open_ome_zarr_container(path)
    img = c.get_label('nuclei') if labels else c.get_image()
    px, axes = img.pixel_size, 'czyx' if img.has_axis('c') else 'zyx'
    a = img.get_as_numpy(axes_order=list('tczyx'))
    return a.shape, (px.z, px.y, px.x), None if labels else list(c.channel_labels), a""",
'ome-zarr-py': """
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
def read(path, labels):
    nodes = list(Reader(parse_url(path + ('/labels/nuclei' if labels else '')))())
    node = next(n for n in nodes if n.zarr.basename() == 'nuclei') if labels else nodes[0]
    scale = next(t['scale'] for t in node.metadata['coordinateTransformations'][0] if t['type'] == 'scale')
    names = node.metadata.get('channel_names', node.metadata.get('name'))
    return node.data[0].shape, scale[-3:], None if labels else names, node.data[0].compute()""",
'iohub-0.2.3': """
from iohub import open_ome_zarr
def read(path, labels):
    pos = open_ome_zarr(path, mode='r')
    return pos['0'].shape, pos.scale[-3:], pos.channel_names, pos['0'].numpy() if hasattr(pos['0'], 'numpy') else pos['0'][:]""",
'dask': """
import dask.array
def read(path, labels):
    a = dask.array.from_zarr(path + ('/labels/nuclei/0' if labels else '/0'))
    return a.shape, None, None, a.compute()""",
'bioio-ome-zarr': """
from bioio import BioImage
import bioio_ome_zarr
def read(path, labels):
    img = BioImage(path, reader=bioio_ome_zarr.Reader); s = img.physical_pixel_sizes
    return img.shape, (s.Z, s.Y, s.X), img.channel_names, img.data""",
'napari-ome-zarr': """
from napari_ome_zarr import napari_get_reader
import numpy as np
def read(path, labels):
    at = path + ('/labels/nuclei' if labels else '')
    layers = napari_get_reader(at)(at)
    data, meta, kind = next(l for l in layers if l[2] == 'labels' and 'nuclei' in str(l[1].get('name'))) if labels else layers[0]
    a = np.asarray(data[0])
    if a.ndim == 4: a = a[:, None]  # labels have no axis of channels
    limits = meta.get('contrast_limits'); limits = limits[0] if limits and np.ndim(limits) > 1 else limits
    if not labels: print('contrast', limits, file=sys.stderr)
    names = meta.get('name'); names = names if isinstance(names, list) else [names]
    names = [n.split(': ', 1)[-1] for n in names]  # it puts the image's name before the channel's
    return a.shape, meta['scale'][-3:], None if labels else names, a""",
}
READERS['iohub-0.3'] = READERS['iohub-0.2.3']
NO_LABELS = ('iohub-0.2.3', 'iohub-0.3', 'bioio-ome-zarr')  # whose readers are for images
ZARR_2_ONLY = ('iohub-0.2.3',)  # cannot open OME-Zarr 0.5

RUN = """
import json, sys, traceback
import numpy as np
for job in json.load(open(sys.argv[1])):
    try:
        shape, scale, names, a = read(job['path'], job['labels'])
        out = dict(shape=[int(n) for n in shape], scale=None if scale is None else [None if s is None else float(s) for s in scale],
                   names=None if names is None else [str(n) for n in names], voxel=float(np.asarray(a)[tuple(job['at'])]))
    except BaseException as e: out = dict(error=f'{type(e).__name__}: {e}'[:200].splitlines()[0] if str(e) else type(e).__name__)
    print('RESULT', json.dumps(out), flush=True)
"""


def things(tmp):
    "One of each: [(kind, version, path of the image, does it say labels)]"
    import warnings
    import numpy as np
    from vstain.evaluate import write_prediction
    from vstain.image import from_array
    from vstain.infer import predict
    from vstain.manifest import Manifest
    from vstain.model import Stainer, net_config
    from vstain.store import create_image, open_image, write_pyramid
    from vstain.synth import synth_plate
    warnings.simplefilter('ignore')
    out, rng = [], np.random.default_rng(0)
    for version in ('0.4', '0.5'):
        plate = synth_plate(tmp/f'plate-{version}.zarr', wells=2, fovs_per_well=1, shape=(3, 64, 64), version=version, show_progress=False)
        write_pyramid(plate, 1)
        out += [('plate', version, plate/'A/1/0', False), ('labels', version, plate/'A/1/0', True)]
        voxels = rng.integers(0, 4000, (2, 2, 3, 40, 50)).astype('uint16')
        for kind, scale in (('image', (.5, .2, .2)), ('unknown scale', None)):
            at = tmp/f"{kind.replace(' ', '-')}-{version}.zarr"
            with create_image(at, voxels.shape, ['Phase', 'Nuclei'], 'uint16', scale, version, time_step=2. if scale else None) as w: w.write(voxels).result()
            out.append((kind, version, at, False))
        m = Manifest.from_ome_zarr(plate, source='Phase3D', target='Nuclei')
        spec = dict(source_channels=['Phase3D'], target_channels=['Nuclei'], patch=[1, 32, 32], in_depth=1, out_depth=1, projection=False, scale=[1., .5, .5],
                    source_norm=dict(method='zscore', level='fov'), target_norm=dict(method='zscore', level='dataset'), norms=dict(target=dict(Nuclei=[140., 30.])))
        predict(Stainer(net_config('unet2d', 1, ['Nuclei'], widths=(8, 16)), spec), m, out=tmp/f'prediction-{version}.zarr', version=version)
        out.append(('prediction', version, tmp/f'prediction-{version}.zarr'/'A/1/0', False))
        one = from_array(voxels[:1, :1], ['Nuclei_prediction'], (.5, .2, .2), axes='TCZYX')
        write_prediction({'a': one, 'b': one}, tmp/f'group-{version}.zarr', version)
        out.append(('group', version, tmp/f'group-{version}.zarr'/'a', False))
    return [dict(kind=k, version=v, path=str(p), labels=l, **facts(open_image(p/'labels' if l else p), l)) for k, v, p, l in out]


def facts(img, labels):
    "What our own reader says of an image, and its brightest voxel"
    import numpy as np
    a = img[:, ['nuclei']] if labels else img[:]
    at = [int(n) for n in np.unravel_index(int(np.argmax(a)), a.shape)]
    return dict(shape=list(a.shape), scale=img.scale, names=None if labels else img.channels, at=at, voxel=float(a[tuple(at)]))


def validate(path):
    "Check each group below `path` against OME-NGFF's models, images without their labels and these apart: 'ok', or what is wrong"
    import typing, pydantic_zarr.v2, zarr
    from ome_zarr_models import v04, v05
    kinds = dict(HCS='plate', Well='well', Labels='labels', ImageLabel='image-label', Image='multiscales')
    for k in kinds: getattr(v04, k).model_rebuild(_types_namespace={**vars(typing), **vars(pydantic_zarr.v2)})  # which pydantic 2.14 does not find
    with tempfile.TemporaryDirectory() as tmp:
        alone = shutil.copytree(path, Path(tmp)/'a.zarr', ignore=lambda at, names: ['labels'] if 'labels' in names else [])
        for top in (alone, *Path(path).rglob('labels')):
            for g in [p for p in (top, *top.rglob('*')) if (p/'.zgroup').exists() or (p/'zarr.json').exists()]:
                try: attrs = dict(zarr.open_group(str(g), mode='r').attrs)
                except Exception: continue  # an array
                kind = next((k for k, key in kinds.items() if key in attrs.get('ome', attrs)), None)
                if not kind or kind == 'Labels' and 'ome' in attrs: continue  # ome-zarr-models 1.6 refuses label images without colours there
                try: getattr(v05 if 'ome' in attrs else v04, kind).from_zarr(zarr.open_group(str(g), mode='r'))
                except Exception as e: return f'{kind} {g.name}: {e}'[:300]
    return 'ok'


def environment(name, folder):
    "Python of the virtual environment of a program, made where it is not there yet; or why there is none"
    python = folder/name/'bin/python'
    if not python.exists(): subprocess.run([sys.executable, '-m', 'venv', folder/name], check=True)
    if not (folder/name/'installed').exists():
        p = subprocess.run([python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', *PROGRAMS[name]], capture_output=True, text=True)
        if p.returncode: return None, (p.stderr.strip().splitlines() or ['pip failed'])[-1][:150]
        (folder/name/'installed').touch()
    return python, subprocess.run([python, '-m', 'pip', 'freeze'], capture_output=True, text=True).stdout


def opened(python, name, jobs, tmp):
    "What a program says of each image"
    script, todo = tmp/f'read_with_{name}.py', tmp/'jobs.json'
    script.write_text('import sys\n' + READERS[name] + RUN); todo.write_text(json.dumps(jobs))
    p = subprocess.run([python, script, todo], capture_output=True, text=True, timeout=900, cwd=tmp)
    rows = [json.loads(l[7:]) for l in p.stdout.splitlines() if l.startswith('RESULT ')]
    return rows + [dict(error=(p.stderr.strip().splitlines() or ['nothing said'])[-1][:200])]*(len(jobs) - len(rows)), p.stderr


def differs(job, got):
    "What of an image another program sees otherwise"
    if 'error' in got: return got['error']
    wrong = [] if got['shape'] == job['shape'] else [f"shape {got['shape']}"]
    if got['scale'] and job['scale'] and max(abs(a/b - 1) for a, b in zip(got['scale'], job['scale'])) > 1e-6: wrong.append(f"scale {got['scale']}")
    if got['names'] and job['names'] and got['names'] != job['names']: wrong.append(f"channels {got['names']}")
    if abs(got['voxel'] - job['voxel']) > 1e-6*abs(job['voxel']): wrong.append(f"voxel {got['voxel']} instead of {job['voxel']}")
    return ', '.join(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--envs', type=Path, help='folder for the environments, kept')
    parser.add_argument('--only', nargs='*', choices=list(PROGRAMS), default=list(PROGRAMS), help='programs')
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as tmp:
        tmp, bad, columns = Path(tmp), 0, {}
        jobs = things(tmp)
        roots = {str(next(p for p in (Path(j['path']), *Path(j['path']).parents) if p.suffix == '.zarr')) for j in jobs}
        valid = {r: validate(r) for r in sorted(roots)}
        for r, said in valid.items(): print(f"ome-zarr-models  {Path(r).name:24} {said}")
        bad += sum(s != 'ok' for s in valid.values())
        for name in args.only:
            folder = args.envs or tmp/'envs'; folder.mkdir(parents=True, exist_ok=True)
            python, said = environment(name, folder)
            if python is None: print(f'{name}: cannot be installed on Python {sys.version.split()[0]}: {said}'); continue
            todo = [j for j in jobs if not (j['labels'] and name in NO_LABELS or j['version'] == '0.5' and name in ZARR_2_ONLY)]
            rows, err = opened(python, name, todo, tmp)
            columns[name] = {(j['kind'], j['version']): differs(j, g) for j, g in zip(todo, rows)}
            package = PROGRAMS[name][-1].split('=')[0].split('>')[0].split('[')[0].lower().replace('_', '-')
            print(f"{name}: {next((l for l in said.splitlines() if l.lower().replace('_', '-').startswith(package + '==')), name)}")
            for l in dict.fromkeys(l for l in err.splitlines() if l.startswith('contrast')): print(f'  {l}')
        print('\n' + f"{'':22}" + ''.join(f'{n:>17}' for n in columns))
        for j in jobs:
            key = j['kind'], j['version']
            print(f'{" ".join(key):22}' + ''.join(f"{'–' if key not in c else 'differs' if c[key] else 'ok':>17}" for c in columns.values()))
        for n, c in columns.items():
            for key, why in c.items():
                if why: bad += 1; print(f"{n}, {' '.join(key)}: {why}")
    print(f'{bad} differ' if bad else 'all agree')
    return bool(bad)


if __name__ == '__main__': sys.exit(main())
