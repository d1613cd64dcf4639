"""Intensity statistics: `preprocess` against reading the store once, and VisCy's where it can be imported.

    python benchmarks/intensity.py [--mb 200] [--repeat 3]

Prints medians of ratios within one run. The goal is at most 1.5 times one reading, from every voxel."""
import argparse, shutil, statistics, tempfile, time, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from vstain.core import n_cpus
from vstain.manifest import Manifest
from vstain.normalize import preprocess
from vstain.store import create_image, create_plate, list_fovs, open_image


def make_plate(path, mb, dtype):
    "A plate of smooth structure with camera noise, which compresses as microscopy does"
    rng, shape = np.random.default_rng(0), (1, 2, 8, 1024, 1024)
    size = int(np.prod(shape))*np.dtype(dtype).itemsize/1e6
    names = [f'A/{i + 1}/0' for i in range(max(1, round(mb/size)))]
    create_plate(path, names)
    smooth = 1200 + 300*np.add.outer(np.sin(np.arange(1024)/40), np.cos(np.arange(1024)/60))
    for n in names:
        with create_image(Path(path)/n, shape, ['Phase3D', 'Nuclei'], dtype) as w: w.write(rng.poisson(smooth, shape).astype(dtype)).result()


def read_once(plate):
    "Every plane decoded and dropped, by as many threads as preprocess uses"
    with ThreadPoolExecutor(n_cpus()) as pool:
        for uri in list_fovs(plate).values():
            img = open_image(uri)
            list(pool.map(lambda cz: img.read(c=cz[0], z=cz[1]).sum(dtype=np.int64) and None, [(c, z) for c in range(img.shape[1]) for z in range(img.shape[2])]))


def clock(f, *args):
    t = time.perf_counter(); f(*args); return time.perf_counter() - t


def main():
    p = argparse.ArgumentParser(); p.add_argument('--mb', type=float, default=200); p.add_argument('--repeat', type=int, default=3); a = p.parse_args()
    try: from viscy_utils.meta_utils import generate_normalization_metadata as viscy
    except ImportError: viscy = None; print('VisCy cannot be imported here: not measured')
    tmp = Path(tempfile.mkdtemp())
    try:
        for dtype in ('uint16', 'float32'):
            plate = tmp/f'{dtype}.zarr'; make_plate(plate, a.mb, dtype); m = Manifest.from_ome_zarr(plate)
            read_once(plate)
            ours, reads, theirs = [], [], []
            for _ in range(a.repeat):
                reads.append(clock(read_once, plate)); ours.append(clock(preprocess, m))
                if viscy: theirs.append(clock(viscy, plate, n_cpus()))
            ratio = statistics.median(o/r for o, r in zip(ours, reads))
            print(f'{dtype:8} {a.mb:.0f} MB: read once {statistics.median(reads):.2f} s, preprocess {statistics.median(ours):.2f} s, ratio {ratio:.2f}'
                  + (f', VisCy {statistics.median(t/r for t, r in zip(theirs, reads)):.2f}' if theirs else ''))
    finally: shutil.rmtree(tmp)


if __name__ == '__main__': main()
