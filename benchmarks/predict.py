"""Prediction: the whole pipeline against its forward passes, the cost of overlapping tiles, memory by image size; MONAI's sliding_window_inference beside them.

    python benchmarks/predict.py [--model unet2d] [--side 2048] [--sides 512 1024 2048 4096] [--repeat 3] [--only forward pipeline tiling memory]

Prints medians of ratios within one run. Goals: pipeline at most 1.10 times its forward passes, tiles at most 1.3 times tiles without overlap, 1.2 times the memory for four times the image."""
import argparse, re, resource, shutil, statistics, subprocess, sys, tempfile, time, warnings
from pathlib import Path

import numpy as np, torch
from monai.inferers import sliding_window_inference

from vstain.infer import faster, predict
from vstain.model import Stainer, build_net, net_config
from vstain.normalize import preprocess
from vstain.store import create_image, create_plate, list_fovs

DEPTH = 5


def make_stainer(model, out_depth=1):
    "A stainer with random weights: one channel in, two out"
    torch.manual_seed(0)
    spec = dict(source_channels=['Phase3D'], target_channels=['Nuclei', 'Membrane'], patch=[DEPTH, 256, 256], in_depth=DEPTH, out_depth=out_depth, projection=False, scale=None,
                source_norm=dict(method='zscore', level='fov'), target_norm=dict(method='zscore', level='dataset'),
                norms=dict(source=dict(Phase3D=[0., 1.]), target=dict(Nuclei=[500., 100.], Membrane=[500., 100.])))
    return Stainer(net_config(model, 1, ['Nuclei', 'Membrane'], DEPTH, out_depth), spec)


def make_plate(path, side, planes, fovs=1, timepoints=1):
    "Planes of smooth structure with camera noise, written one by one"
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.gamma(2, 200, (side//16 + 1, side//16 + 1)), np.ones((16, 16)))[:side, :side]
    plate = create_plate(path, [f'A/1/{i}' for i in range(fovs)])
    for uri in list_fovs(plate).values():
        with create_image(uri, (timepoints, 1, planes, side, side), ['Phase3D'], 'uint16', (.5, .2, .2)) as w:
            for t in range(timepoints):
                for z in range(planes): w.write((smooth + rng.normal(100, 5, smooth.shape)).clip(0).astype('uint16')[None, None, None], t=t, z=z).result()
    with warnings.catch_warnings(): warnings.simplefilter('ignore'); preprocess(plate)
    return plate


class Timed:
    "Adds up the seconds of forward passes"
    def __enter__(self):
        self.seconds, self.calls, self.forward = 0., 0, Stainer.forward
        def forward(stainer, x):
            start = time.perf_counter(); y = self.forward(stainer, x); self.seconds += time.perf_counter() - start; self.calls += 1
            return y
        Stainer.forward = forward
        return self
    def __exit__(self, *_): Stainer.forward = self.forward


def pipeline(args, tmp):
    "Wall time of predict on a plate over the sum of its forward passes"
    for name, out_depth, (side, planes, fovs) in (('middle plane', 1, (1024, 8, 2)), ('whole window', DEPTH, (1024, 8, 2)), ('middle plane', 1, (2048, 5, 1)), ('whole window', DEPTH, (2048, 9, 1))):
        plate, ratios = make_plate(tmp/'pipe.zarr', side, planes, fovs), []
        for r in range(args.repeat):
            stainer = make_stainer(args.model, out_depth)
            with Timed() as timed: wall = clock(lambda: predict(stainer, plate, tmp/f'pred{r}.zarr', progress=False))
            ratios.append(wall/timed.seconds); shutil.rmtree(tmp/f'pred{r}.zarr')
        shutil.rmtree(plate)
        print(f'{name}, {fovs} fields of {planes}×{side}²: {wall:.1f} s, pipeline ÷ forward passes {statistics.median(ratios):.3f} ({min(ratios):.3f} … {max(ratios):.3f}), {timed.calls} passes', flush=True)


def tiling(args):
    "Tiles with overlap over tiles without, for one plane; MONAI's likewise"
    stainer, x = faster(make_stainer(args.model)), np.random.default_rng(0).normal(size=(DEPTH, args.side, args.side)).astype('float32')
    batch, ratios = torch.from_numpy(x)[None], {}
    def ours(halo): return lambda: stream_one(stainer, x, halo)
    @torch.inference_mode()
    def slide(overlap): return sliding_window_inference(batch, (512, 512), 1, lambda b: stainer.joined(stainer.forward(b[:, None]))[:, :, 0], overlap=overlap, mode='gaussian')
    runs = {'ours': ours(32), 'MONAI 25 %': lambda: slide(.25), 'MONAI 50 %': lambda: slide(.5)}
    for _ in range(args.repeat):
        base = clock(ours(0))
        for name, f in runs.items(): ratios.setdefault(name, []).append(clock(f)/base)
    print(f'tiling of {args.side}², over zero overlap: ' + ', '.join(f'{n} {statistics.median(r):.2f}' for n, r in ratios.items()), flush=True)


def forward(args, tmp):
    "One tile through the network as predict runs it, and through onnxruntime, over eager float32"
    import onnxruntime as ort
    from vstain.export import export_onnx
    for model in ('unet2d', 'unet3d', 'unext2'):
        stainer, x = make_stainer(model), torch.randn(1, 1, DEPTH, 576, 576)
        eager, fast = build_net(stainer.net_config).eval(), faster(stainer, 'float32')
        options = ort.SessionOptions(); options.log_severity_level = 3; options.intra_op_num_threads = torch.get_num_threads()
        session = ort.InferenceSession(str(export_onnx(stainer, tmp/model)), options, providers=['CPUExecutionProvider'])
        runs, ratios = {'predict': lambda: fast.forward(x), 'onnxruntime': lambda: session.run(None, {'image': x.numpy()})}, {}
        with torch.inference_mode():
            for _ in range(args.repeat + 1):
                base = clock(lambda: eager(x))
                for name, f in runs.items(): ratios.setdefault(name, []).append(clock(f)/base)
        print(f'{model}, a tile of 576², over eager float32 ({base:.2f} s): ' + ', '.join(f'{n} {statistics.median(r[1:]):.2f}' for n, r in ratios.items()), flush=True)


def stream_one(stainer, x, halo):
    "One output plane of a stack of one window, tile by tile"
    from concurrent.futures import ThreadPoolExecutor
    from vstain.infer import Stream
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        s = Stream(stainer.forward, [(list(range(DEPTH)), [0])], x.shape, 1, {'stain': 2}, divisor=stainer.divisor[1:], halo=halo)
        s.start(lambda i, ys, xs: x[None, i, ys, xs], reader)
        for f in s.run(lambda *a: None, writer): f.result()


def clock(f):
    start = time.perf_counter(); f()
    return time.perf_counter() - start


def memory(args, tmp):
    "Peak memory of predicting planes of one size and of four times that size, each in a process of its own"
    for name, out_depth in (('middle plane', 1), ('whole window', DEPTH)):
        peaks = {}
        for side in args.sides:
            plate = make_plate(tmp/f'mem{side}.zarr', side, DEPTH + 1)
            code = f"import sys; sys.path[:0] = {[str(Path(__file__).parent)]!r}\nfrom predict import *\nmeasure_peak({args.model!r}, {out_depth}, {str(plate)!r}, {str(tmp/'mem_out.zarr')!r})"
            peaks[side] = float(subprocess.run([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])
            shutil.rmtree(plate); shutil.rmtree(tmp/'mem_out.zarr')
        sides = list(peaks)
        print(f'{name}: peak memory ' + ', '.join(f'{s}² {p:.0f} MB' for s, p in peaks.items()) + '; four times the image: ' + ', '.join(f'{peaks[b]/peaks[a]:.2f}' for a, b in zip(sides, sides[1:])), flush=True)


def measure_peak(model, out_depth, plate, out):
    torch.set_num_threads(2)
    predict(make_stainer(model, out_depth), plate, out, progress=False)
    status = Path('/proc/self/status') # not getrusage, which a child inherits from its parent
    print(int(re.search(r'VmHWM:\s+(\d+)', status.read_text())[1])/1024 if status.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024**2)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--model', default='unet2d'); p.add_argument('--side', type=int, default=2048)
    p.add_argument('--sides', type=int, nargs='*', default=[512, 1024, 2048, 4096]); p.add_argument('--repeat', type=int, default=3); p.add_argument('--only', nargs='*', default=['forward', 'pipeline', 'tiling', 'memory'])
    args, tmp = p.parse_args(), Path(tempfile.mkdtemp())
    try:
        if 'forward' in args.only: forward(args, tmp)
        if 'pipeline' in args.only: pipeline(args, tmp)
        if 'tiling' in args.only: tiling(args)
        if 'memory' in args.only: memory(args, tmp)
    finally: shutil.rmtree(tmp, ignore_errors=True)


if __name__ == '__main__': main()
