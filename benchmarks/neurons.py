"""Quality on real neurons: `fit` with its defaults, two bare U-Nets and a ridge regression, the same minutes each, on columns nobody trained on.

    python benchmarks/neurons.py ../shared/data/isl_neurons [--minutes 10 | --steps 600] [--cuts left right] [--seeds 0] [--only ridge fit plain basicunet]

One field of 13 phase-contrast planes and three projected stains is cut by columns with gaps: 384 to train, 80 to choose the best checkpoint,
144 to test; 'left' trains on the left part, 'right' is its mirror image. The bare nets are trained by the loop that a careful person would write: patches of
128² at random, flips and turns, AdamW, one cycle, mean squared error, the checkpoint that validates best. 'plain' is MONAI's BasicUNet with batch norm and ReLU,
'basicunet' is the same as it comes (instance norm, leaky ReLU). On a busy machine compare by steps: 600 of `fit` are about ten minutes on two idle cores.
Prints the Pearson correlation of each stain."""
import argparse, math, statistics, tempfile, time, warnings
from pathlib import Path

import numpy as np, tifffile, torch
from torch.nn import functional as F

from vstain.evaluate import ridge_baseline
from vstain.infer import predict
from vstain.manifest import Manifest
from vstain.train import fit

STAINS, PATCH, BS = ('DAPI', 'MAP2', 'NFH'), 128, 8
CUTS = dict(left=dict(train=slice(0, 384), valid=slice(400, 480), test=slice(496, 640)), right=dict(train=slice(256, 640), valid=slice(160, 240), test=slice(0, 144)))


def read(folder, cut):
    "Split → (planes, stains) as float32"
    phase = tifffile.imread(folder/'phase_zyx.tif').astype('float32')
    stains = np.stack([tifffile.imread(folder/f'{s.lower()}_yx.tif') for s in STAINS]).astype('float32')
    return {split: (phase[..., cols], stains[..., cols]) for split, cols in CUTS[cut].items()}


def manifest(parts):
    return Manifest.from_arrays([x for x, _ in parts.values()], [dict(zip(STAINS, y)) for _, y in parts.values()], source_channels='Phase', split=list(parts))


def pearson(prediction, truth): return [float(np.corrcoef(p.ravel(), t.ravel())[0, 1]) for p, t in zip(prediction, truth)]


def ours(parts, minutes, steps, seed):
    budget = dict(epochs=20, patches_per_epoch=steps//20*BS) if steps else dict(minutes=minutes)
    with tempfile.TemporaryDirectory() as folder:
        stainer = fit(manifest(parts), **budget, seed=seed, out=folder, progress='off').stainer
    x, y = parts['test']
    return pearson(np.asarray(predict(stainer, x, progress=False)).reshape(y.shape), y)


def ridge(parts, minutes, steps, seed):
    m = manifest(parts)
    return ridge_baseline(m.train, m.test)["pearson"].tolist()


class Bare:
    "A network and the loop around it"
    def __init__(self, parts, seed, **options):
        from monai.networks.nets import BasicUNet
        torch.manual_seed(seed)
        (x, y), self.parts, self.rng = parts['train'], parts, np.random.default_rng(seed)
        self.x, self.y = (x - x.mean())/x.std(), (y - y.mean((1, 2), keepdims=True))/y.std((1, 2), keepdims=True)
        self.shift, self.scale = x.mean(), x.std()
        self.net = BasicUNet(2, len(x), len(y), **options).to(memory_format=torch.channels_last)

    def batch(self):
        "Patches at random, flipped and turned"
        pairs = []
        for _ in range(BS):
            i, j = (self.rng.integers(n - PATCH + 1) for n in self.x.shape[1:])
            k, flip = self.rng.integers(4), slice(None, None, self.rng.choice([-1, 1]))
            pairs.append([np.rot90(a[:, i:i + PATCH, j:j + PATCH], k, (1, 2))[..., flip] for a in (self.x, self.y)])
        return (torch.from_numpy(np.stack(a)).contiguous(memory_format=torch.channels_last) for a in zip(*pairs))

    @torch.inference_mode()
    def score(self, split):
        x, y = self.parts[split]
        self.net.eval(); h, w = y.shape[1:]
        x = F.pad(torch.from_numpy((x - self.shift)/self.scale)[None], (0, -w % 16, 0, -h % 16), mode='replicate')
        out = pearson(self.net(x)[0, :, :h, :w].numpy(), y)
        self.net.train()
        return out

    def train(self, seconds, steps=None, lr=2e-3, validations=20):
        "One cycle over the given time or steps; leaves the weights that validated best"
        opt, start, best, done, n = torch.optim.AdamW(self.net.parameters(), lr, weight_decay=.01), time.time(), (-1, None), 0, 0
        while (at := n/steps if steps else (time.time() - start)/seconds) < 1:
            opt.param_groups[0]['lr'] = lr*(max(at/.25, .04) if at < .25 else .5 + .5*math.cos(math.pi*(at - .25)/.75))
            x, y = self.batch(); loss = F.mse_loss(self.net(x), y)
            opt.zero_grad(); loss.backward(); opt.step(); n += 1
            if at*validations >= done + 1: done, best = done + 1, self.better(best)
        self.net.load_state_dict(self.better(best)[1])

    def better(self, best):
        r = statistics.mean(self.score('valid'))
        return (r, {k: v.clone() for k, v in self.net.state_dict().items()}) if r > best[0] else best


def bare(**options):
    def run(parts, minutes, steps, seed):
        b = Bare(parts, seed, **options); b.train(60*minutes, steps)
        return b.score('test')
    return run


METHODS = dict(ridge=ridge, fit=ours, plain=bare(norm=('batch', {}), act=('relu', {'inplace': True})), basicunet=bare())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('folder', type=Path); p.add_argument('--minutes', type=float, default=10); p.add_argument('--steps', type=int)
    p.add_argument('--cuts', nargs='+', choices=CUTS, default=list(CUTS)); p.add_argument('--seeds', nargs='+', type=int, default=[0]); p.add_argument('--only', nargs='+', choices=METHODS, default=list(METHODS))
    args = p.parse_args()
    if not args.folder.exists(): print(f'{args.folder} is absent: nothing to measure'); return
    warnings.simplefilter('ignore')
    print('cut    seed method    ' + '  '.join(f'{s:>6}' for s in STAINS))
    for cut in args.cuts:
        parts = read(args.folder, cut)
        for seed in args.seeds:
            for name in args.only: print(f'{cut:<6} {seed:4} {name:<9} ' + '  '.join(f'{v:6.3f}' for v in METHODS[name](parts, args.minutes, args.steps, seed)), flush=True)


if __name__ == '__main__': main()
