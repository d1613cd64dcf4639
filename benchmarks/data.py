"""Patches in a second from an OME-Zarr plate, and the cost of five augmentations, beside MONAI and VisCy.

    python benchmarks/data.py [--mb 256] [--repeat 3] [--seconds 3] [--threads N] [--part both|loaders|five] [--viscy-python PATH]

Everything is measured in turn in one run; figures are medians, and what counts are their ratios. VisCy is measured
where it can be imported, or by the interpreter of another environment. Goals: 1200 patches of 2 x 5 x 256 x 256 a second
after the first epoch where a bare copy out of a memory map makes 3200; five augmentations in 5 ms a patch where MONAI takes 22.8."""
import argparse, json, os, shutil, statistics, subprocess, sys, tempfile, time, warnings
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


def our_loader(plate, workers):
    "`vstain.data.dataloaders`, its cache filled"
    from vstain.data import dataloaders
    from vstain.manifest import Manifest
    m = Manifest.from_ome_zarr(plate, source='Phase3D', target='Nuclei').split(valid=.25)
    train = dataloaders(m, patch=PATCH, bs=BS, workers=workers, patches_per_epoch=320, device='cpu').train
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


def monai_loader(plate):
    "MONAI: decoded and normalised fields in a CacheDataset, four random crops from each item"
    from monai.data import CacheDataset, DataLoader
    from monai.transforms import Compose, NormalizeIntensityd, RandSpatialCropSamplesd
    from vstain.store import list_fovs, open_image
    data = [dict(zip(('source', 'target'), open_image(u)[0].astype(np.float32)[:, None])) for u in list_fovs(plate).values()]
    tfm = Compose([NormalizeIntensityd(['source', 'target']), RandSpatialCropSamplesd(['source', 'target'], PATCH, num_samples=4, random_size=False)])
    dl = DataLoader(CacheDataset(data, tfm, progress=False), batch_size=min(BS//4, len(data)), shuffle=True)
    return lambda: dl


def viscy_loader(plate):
    "VisCy's HCSDataModule with four weighted crops from each stack, as its examples have it"
    from viscy.data.hcs import HCSDataModule
    from viscy.transforms import NormalizeSampled, RandWeightedCropd
    dm = HCSDataModule(plate, 'Phase3D', 'Nuclei', PATCH[0], split_ratio=.75, batch_size=BS, num_workers=0, yx_patch_size=PATCH[1:],
        normalizations=[NormalizeSampled(['Phase3D'], 'fov_statistics', 'mean', 'std'), NormalizeSampled(['Nuclei'], 'dataset_statistics', 'mean', 'std')],
        augmentations=[RandWeightedCropd(['Phase3D', 'Nuclei'], w_key='Nuclei', spatial_size=[-1, *PATCH[1:]], num_samples=4)])
    dm.trainer = None
    dm.setup('fit')
    return lambda: dm.train_dataloader()


def viscy_elsewhere(python, plate, seconds):
    "Patches in a second by VisCy in another environment"
    p = subprocess.run([python, __file__, '--only-viscy', str(plate), '--seconds', str(seconds)], capture_output=True, text=True)
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


def compare_loaders(a):
    from vstain.normalize import preprocess
    tmp = Path(tempfile.mkdtemp(prefix='vstain-bench-')); os.environ['VSTAIN_CACHE'] = str(tmp/'cache'); (tmp/'cache').mkdir()
    try:
        plate = tmp/'plate.zarr'; make_plate(plate, a.mb); preprocess(plate)
        loaders = {'memory map, bare copy': memmap_limit(a.mb), 'vstain': our_loader(plate, a.workers), 'MONAI CacheDataset': monai_loader(plate)}
        rates = {k: [] for k in loaders}
        try: loaders['VisCy'] = viscy_loader(plate); rates['VisCy'] = []
        except ImportError:
            if a.viscy_python: rates['VisCy'] = []
            else: print('VisCy cannot be imported here: not measured (see --viscy-python)')
        for _ in range(a.repeat):
            for k in rates: rates[k].append(per_second(loaders[k], a.seconds) if k in loaders else viscy_elsewhere(a.viscy_python, plate, a.seconds))
        print(f'patches of 2 x {" x ".join(map(str, PATCH))} a second, {a.mb:.0f} MB')
        for k, v in rates.items(): print(f'  {k:24} {statistics.median(v):8.0f}   vstain is {statistics.median(o/r for o, r in zip(rates["vstain"], v)):.2f} times that')
    finally: shutil.rmtree(tmp)


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
    for name, typ, default in (('--mb', float, 256.), ('--repeat', int, 3), ('--seconds', float, 3.), ('--workers', int, 0), ('--threads', int, 0), ('--part', str, 'both'), ('--viscy-python', str, None), ('--only-viscy', str, None)):
        p.add_argument(name, type=typ, default=default)
    a = p.parse_args(); warnings.simplefilter('ignore')
    if a.only_viscy: return print(json.dumps(per_second(viscy_loader(a.only_viscy), a.seconds)))
    import torch
    if a.threads: torch.set_num_threads(a.threads)
    if a.part in ('both', 'loaders'): compare_loaders(a)
    if a.part in ('both', 'five'): compare_five(a)


if __name__ == '__main__': main()
