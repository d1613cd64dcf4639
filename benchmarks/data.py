"""Patches in a second from an OME-Zarr plate, what workers and streaming cost, and five augmentations, beside MONAI and VisCy.

    python benchmarks/data.py [--mb 1100] [--repeat 3] [--seconds 3] [--threads N] [--part all|loaders|five|workers|stream|memory] [--viscy-python PATH]

Everything is measured in turn in one run; figures are medians, and what counts are their ratios. VisCy is measured
where it can be imported, or by the interpreter of another environment. Goals: 1200 patches of 2 x 5 x 256 x 256 a second
after the first epoch where a bare copy out of a memory map makes 3200; five augmentations in 5 ms a patch where MONAI takes 22.8."""
import argparse, contextlib, functools, json, os, shutil, statistics, subprocess, sys, tempfile, time, warnings
from pathlib import Path

import numpy as np

BS, PATCH = 16, (5, 256, 256)


def make_plate(path, mb):
    "A uint16 plate of two channels, smooth structure with camera noise, which compresses as microscopy does"
    from vstain.store import create_image, create_plate
    rng, shape = np.random.default_rng(0), (1, 2, 16, 1024, 1024)
    names = [f'A/{i + 1}/0' for i in range(max(2, round(mb*1e6/(2*np.prod(shape)))))]
    create_plate(path, names)
    smooth = 1200 + 300*np.add.outer(np.sin(np.arange(1024)/40), np.cos(np.arange(1024)/60))
    for n in names:
        with create_image(Path(path)/n, shape, ['Phase3D', 'Nuclei'], 'uint16') as w: w.write(rng.poisson(smooth, shape).astype('uint16')).result()


def per_second(batches, seconds):
    "Patches in a second; `batches` is a function that makes an iterator of one epoch, and the first batch is not counted"
    it, count = iter(batches()), None
    while True:
        b = next(it, None)
        if b is None: it = iter(batches()); continue
        if count is None: count, start = 0, time.perf_counter(); continue
        count += len(b['source'] if isinstance(b, dict) else b[0]); del b
        if time.perf_counter() - start > seconds: return count/(time.perf_counter() - start)


def our_loader(plate, workers, filled=True, **kwargs):
    "`vstain.data.dataloaders`, its cache filled"
    from vstain.data import dataloaders
    from vstain.manifest import Manifest
    m = Manifest.from_ome_zarr(plate, source='Phase3D', target='Nuclei').split(valid=.25)
    train = dataloaders(m, patch=PATCH, bs=BS, workers=workers, patches_per_epoch=320, device='cpu', **kwargs).train
    if filled:
        for _ in train: pass
    return lambda: train


def memmap_limit(mb):
    "Patches copied from a memory-mapped array of the file's own type, and no more"
    path = Path(tempfile.mkdtemp(dir=os.environ['VSTAIN_CACHE']))/'limit.npy'
    a = np.lib.format.open_memmap(path, 'w+', np.uint16, (max(2, round(mb*1e6/2**26)), 2, 16, 1024, 1024)); a[:] = 7; a.flush()
    a, out, rng = np.load(path, mmap_mode='r'), np.empty((BS, 2, *PATCH), np.uint16), np.random.default_rng(0)
    def batches():
        for _ in range(20):
            for i in range(BS):
                f, z, y, x = (rng.integers(n) for n in (len(a), 12, 769, 769))
                out[i] = a[f, :, z:z + 5, y:y + 256, x:x + 256]
            yield (out,)
    return batches


def _decoded(item):
    "A field of view, decoded, as MONAI's transforms take it"
    from vstain.store import open_image
    return dict(zip(('source', 'target'), open_image(item['uri'])[0].astype(np.float32)[:, None]))


def monai_loader(plate, kind):
    "MONAI: decoded and normalised fields in a CacheDataset or a PersistentDataset, four random crops from each item"
    import monai.data
    from monai.transforms import Compose, Lambda, NormalizeIntensityd, RandSpatialCropSamplesd
    from vstain.store import list_fovs
    data = [dict(uri=u) for u in list_fovs(plate).values()]
    tfm = Compose([Lambda(_decoded), NormalizeIntensityd(['source', 'target']), RandSpatialCropSamplesd(['source', 'target'], PATCH, num_samples=4, random_size=False)])
    ds = monai.data.CacheDataset(data, tfm, progress=False) if kind == 'cache' else monai.data.PersistentDataset(data, tfm, Path(plate).parent/'monai')
    if kind != 'cache':
        for i in range(len(ds)): ds[i]
    dl = monai.data.DataLoader(ds, batch_size=min(BS//4, len(data)), shuffle=True)
    return lambda: dl


def viscy_loader(plate, caching=False):
    "VisCy's HCSDataModule with four weighted crops from each stack, as its examples have it, and with its cache of decompressed images"
    from viscy.data.hcs import HCSDataModule
    from viscy.transforms import NormalizeSampled, RandWeightedCropd
    plate = str(Path(plate).resolve())
    dm = HCSDataModule(plate, 'Phase3D', 'Nuclei', PATCH[0], split_ratio=.75, batch_size=BS, num_workers=0, yx_patch_size=PATCH[1:], caching=caching,
        normalizations=[NormalizeSampled(['Phase3D'], 'fov_statistics', 'mean', 'std'), NormalizeSampled(['Nuclei'], 'dataset_statistics', 'mean', 'std')],
        augmentations=[RandWeightedCropd(['Phase3D', 'Nuclei'], w_key='Nuclei', spatial_size=[-1, *PATCH[1:]], num_samples=4)])
    dm.trainer = None
    with contextlib.chdir(Path(plate).parent):  # VisCy leaves a data.log where it runs
        if caching: dm.prepare_data()
        dm.setup('fit')
    return lambda: dm.train_dataloader()


def viscy_elsewhere(python, plate, caching, seconds):
    "Patches in a second by VisCy in another environment"
    python = os.path.abspath(shutil.which(python) or python)
    p = subprocess.run([python, str(Path(__file__).resolve()), '--only-viscy', str(Path(plate).resolve()), '--seconds', str(seconds), *(['--caching', '1'] if caching else [])], capture_output=True, text=True, cwd=Path(plate).parent, env={**os.environ, 'TMPDIR': str(Path(plate).parent)})  # VisCy leaves a data.log where it runs
    if p.returncode: raise SystemExit(f'VisCy failed:\n{p.stderr[-2000:]}')
    return json.loads(p.stdout.splitlines()[-1])


def our_five():
    "Flip and turn, affine, scale and shift, blur, noise on a batch of patches: ms a patch"
    import torch
    from vstain.core import SourceTensor, TargetTensor
    from vstain.transforms import Affine, Blur, FlipTurn, Noise, ScaleShift, augment
    b = SourceTensor(torch.randn(BS, 1, *PATCH)), TargetTensor(torch.randn(BS, 1, *PATCH))
    tfms = [FlipTurn(), Affine(180, (.9, 1.1)), ScaleShift(), Blur(), Noise()]
    def run(): augment(b, tfms, inplace=True)
    return run, BS


def monai_five():
    "The same by MONAI's dictionary transforms, sample by sample"
    import torch
    from monai.transforms import Compose, RandAffined, RandFlipd, RandGaussianNoised, RandGaussianSmoothd, RandRotate90d, RandScaleIntensityd, RandShiftIntensityd
    keys = ['source', 'target']
    tfm = Compose([RandFlipd(keys, 1, 2), RandRotate90d(keys, 1, spatial_axes=(1, 2)), RandAffined(keys, prob=1, rotate_range=(np.pi, 0, 0), scale_range=(0, .1, .1), padding_mode='reflection'),
                   RandScaleIntensityd(['source'], .2, prob=1), RandShiftIntensityd(['source'], .2, prob=1), RandGaussianSmoothd(['source'], (.3, 1), (.3, 1), (.01, .01), prob=1), RandGaussianNoised(['source'], prob=1, std=.2)])
    sample = {k: torch.randn(1, *PATCH) for k in keys}
    def run():
        for _ in range(4): tfm(dict(sample))
    return run, 4


@contextlib.contextmanager
def a_plate(a):
    "A plate with its statistics, and a cache of its own"
    from vstain.normalize import preprocess
    tmp = Path(tempfile.mkdtemp(prefix='vstain-bench-', dir=a.folder)); os.environ['VSTAIN_CACHE'] = str(tmp/'cache'); (tmp/'cache').mkdir()
    try:
        make_plate(tmp/'plate.zarr', a.mb); preprocess(tmp/'plate.zarr')
        yield tmp/'plate.zarr'
    finally: shutil.rmtree(tmp)


def in_turn(loaders, a, measure=per_second):
    "Name → rates, measured in turn"
    rates = {k: [] for k in loaders}
    for _ in range(a.repeat):
        for k, f in loaders.items(): rates[k].append(f(a.seconds) if getattr(f, 'elsewhere', False) else measure(f, a.seconds))
    return rates


def ready(make, *args, **kwargs):
    "A loader, and the seconds until it can give batches from its cache"
    t = time.perf_counter(); f = make(*args, **kwargs)
    return f, time.perf_counter() - t


def compare_loaders(a):
    with a_plate(a) as plate:
        made = {'memory map, bare copy': (memmap_limit(a.mb), None), 'vstain': ready(our_loader, plate, a.workers), 'vstain, preloaded': ready(our_loader, plate, a.workers, preload=True),
                'MONAI CacheDataset': ready(monai_loader, plate, 'cache'), 'MONAI PersistentDataset': ready(monai_loader, plate, 'persistent')}
        for name, caching in {'VisCy': False, 'VisCy, caching': True}.items():
            try: made[name] = ready(viscy_loader, plate, caching)
            except ImportError:
                if not a.viscy_python: print(f'{name} cannot be imported here: not measured (see --viscy-python)'); continue
                elsewhere = functools.partial(viscy_elsewhere, a.viscy_python, plate, caching); elsewhere.elsewhere = True
                made[name] = elsewhere, None
        rates = in_turn({k: f for k, (f, _) in made.items()}, a)
        print(f'patches of 2 x {" x ".join(map(str, PATCH))} a second, {a.mb:.0f} MB')
        for k, v in rates.items(): print(f'  {k:24} {statistics.median(v):8.0f}   vstain is {statistics.median(o/r for o, r in zip(rates["vstain"], v)):6.2f} times that' + (f'; ready after {made[k][1]:.1f} s' if made[k][1] else ''))


class Batches:
    "Our batches as the items of a torch Dataset, for worker processes"
    def __init__(self, loader): self.patches, self.where, self.size = loader.dataset, loader.plan(0), loader.size
    def __len__(self): return len(self.where)//BS
    def __getitem__(self, i): return tuple(self.patches.batch(self.where[i*BS:(i + 1)*BS], self.size).values())


def compare_workers(a):
    "Threads and processes that read ahead, alone and beside a network that uses one core"
    import torch
    torch.set_num_threads(1); net = torch.nn.Conv3d(1, 8, 3, padding=1)
    def busy(batches):
        def epoch():
            for b in batches():
                with torch.no_grad(): net(b[0].as_subclass(torch.Tensor)[:2, :1])
                yield b
        return epoch
    with a_plate(a) as plate:
        first = our_loader(plate, 1)()
        def processes(n):
            dl = torch.utils.data.DataLoader(Batches(first), batch_size=None, num_workers=n, persistent_workers=True)
            return lambda: dl
        loaders = {f'{n} thread{"s"*(n > 1)}': our_loader(plate, n) for n in (1, 2, 4)} | {f'{n} process{"es"*(n > 1)}': processes(n) for n in (1, 2)}
        for title, wrap in (('alone', lambda f: f), ('beside a network on one thread', busy)):
            rates = in_turn({k: wrap(f) for k, f in loaders.items()}, a)
            print(f'patches a second, {title}')
            for k, v in rates.items(): print(f'  {k:24} {statistics.median(v):8.0f}   {statistics.median(r/o for o, r in zip(rates["1 thread"], v)):.2f} times one thread')


def compare_stream(a):
    "From the cache, by windows, and straight from the store: what a store larger than the disk costs"
    from vstain.cache import WindowBuffer
    with a_plate(a) as plate:
        loaders = {'decoded cache': our_loader(plate, a.workers), 'windows, 8 patches each': our_loader(plate, a.workers, cache=WindowBuffer(2**29, draws=8)), 'windows, 16 patches each': our_loader(plate, a.workers, cache=WindowBuffer(2**29, draws=16)), 'store, patch by patch': our_loader(plate, a.workers, False, cache=False)}
        rates = in_turn(loaders, a)
        print('patches a second')
        for k, v in rates.items(): print(f'  {k:24} {statistics.median(v):8.0f}   {statistics.median(r/o for o, r in zip(rates["store, patch by patch"], v)):.2f} times the store')


def anonymous():
    "Memory of this process that is its own, MB; mapped files are shared and not counted"
    return int(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('RssAnon')))/1e3


def measure_memory(a):
    "What a loader takes, by the number of threads, and what a thousand batches leave behind"
    with a_plate(a) as plate:
        mb = BS*2*np.prod(PATCH)*4/1e6
        print(f'a batch of {BS} has {mb:.0f} MB')
        for n in (1, 2, 4):
            before = anonymous(); loader = our_loader(plate, n)(); full = anonymous()
            print(f'  {n} thread{"s"*(n > 1)}: {full - before:.0f} MB more, {(full - before)/mb:.1f} batches'); del loader
        loader, seen, fds = our_loader(plate, 2)(), 0, []
        while seen < 1100:
            for _ in loader:
                seen += 1
                if seen in (100, 1100): fds.append((anonymous(), len(os.listdir('/proc/self/fd'))))
                if seen == 1100: break
        print(f'  after 100 batches {fds[0][0]:.0f} MB and {fds[0][1]} open files, after 1100 {fds[1][0]:.0f} MB and {fds[1][1]}')


def compare_five(a):
    runs = {'vstain': our_five(), 'MONAI': monai_five()}; wall, cpu = {k: [] for k in runs}, {k: [] for k in runs}
    for i in range(a.repeat + 1):
        for k, (f, n) in runs.items():
            t, c = time.perf_counter(), time.process_time(); f()
            if i: wall[k].append((time.perf_counter() - t)/n*1e3); cpu[k].append((time.process_time() - c)/n*1e3)
    print('five augmentations, ms a patch')
    for k in runs: print(f'  {k:24} {statistics.median(wall[k]):8.2f}   {statistics.median(x/o for x, o in zip(wall[k], wall["vstain"])):.1f} times vstain; of processor time {statistics.median(cpu[k]):.2f}')


def main():
    p = argparse.ArgumentParser()
    for name, typ, default in (('--mb', float, 1100.), ('--repeat', int, 3), ('--seconds', float, 3.), ('--workers', int, 0), ('--threads', int, 0), ('--part', str, 'all'), ('--folder', str, None), ('--viscy-python', str, None), ('--only-viscy', str, None), ('--caching', int, 0)):
        p.add_argument(name, type=typ, default=default)
    a = p.parse_args(); warnings.simplefilter('ignore')
    if a.only_viscy: return print(json.dumps(per_second(viscy_loader(a.only_viscy, bool(a.caching)), a.seconds)))
    import torch
    if a.threads: torch.set_num_threads(a.threads)
    for name, part in dict(loaders=compare_loaders, five=compare_five, workers=compare_workers, stream=compare_stream, memory=measure_memory).items():
        if a.part in ('all', name): part(a)


if __name__ == '__main__': main()
