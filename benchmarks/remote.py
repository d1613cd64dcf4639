"""Reading OME-Zarr over https: zarr's FsspecStore, which the store uses, beside tensorstore's own http driver.

    python benchmarks/remote.py [--repeat 3] [--delay 0 0.03]

A server on loopback shows two arrays of 64 planes of 512 x 512 (one chunk a plane; shards of 8 planes in chunks of 128 x 128) and
waits `delay` seconds before each answer. The server runs in a process of its own. Figures are medians of seconds, in one run."""
import argparse, statistics, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

SERVE = """
import sys, time
from vstain.remote import _Ranges, serve_folder
answer = _Ranges.do_GET
_Ranges.do_GET = lambda self: (time.sleep(float(sys.argv[2])), answer(self))
with serve_folder(sys.argv[1]) as url: print(url, flush=True); time.sleep(3600)
"""


def make_arrays(folder):
    "The two arrays, of voxels that compress as a camera's do"
    import zarr
    voxels = np.random.default_rng(0).poisson(1000, (64, 512, 512)).astype('uint16')
    zarr.create_array(Path(folder)/'chunks', data=voxels, chunks=(1, 512, 512), zarr_format=2)
    zarr.create_array(Path(folder)/'shards', data=voxels, shards=(8, 512, 512), chunks=(1, 128, 128), zarr_format=3)
    return voxels


def readers(url, name):
    "Functions of a key, by name of the reader; each has opened the array"
    import tensorstore as ts
    from vstain.store import open_image
    far = ts.open(dict(driver='zarr' if name == 'chunks' else 'zarr3', kvstore=dict(driver='http', base_url=f'{url}/{name}/'))).result()
    img = open_image(f'{url}/{name}', axes='ZYX')
    return {'store': lambda key: img[(0, 0, *key)], 'tensorstore': lambda key: far[key].read().result()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--repeat', type=int, default=3); parser.add_argument('--delay', type=float, nargs='+', default=[0, .03])
    args = parser.parse_args()
    keys = dict(whole=[(slice(None),)*3], crops=[(slice(i, i + 1), slice(0, 100), slice(0, 100)) for i in range(0, 64, 4)])
    with tempfile.TemporaryDirectory() as folder:
        voxels = make_arrays(folder)
        for delay in args.delay:
            server = subprocess.Popen([sys.executable, '-c', SERVE, folder, str(delay)], stdout=subprocess.PIPE, text=True)
            try:
                url = server.stdout.readline().strip()
                for name in ('chunks', 'shards'):
                    read = readers(url, name)
                    for what, ks in keys.items():
                        took = {r: [] for r in read}
                        for _ in range(args.repeat):
                            for r, f in read.items():
                                start = time.perf_counter(); parts = [f(k) for k in ks]; took[r].append(time.perf_counter() - start)
                                assert all((np.asarray(p) == voxels[k]).all() for p, k in zip(parts, ks))
                        a, b = (statistics.median(took[r]) for r in ('store', 'tensorstore'))
                        print(f'delay {delay:g} s  {name:6} {what:5}  store {a:.3f} s  tensorstore {b:.3f} s  ratio {a/b:.2f}', flush=True)
            finally: server.kill()


if __name__ == '__main__': main()
