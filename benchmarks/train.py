"""What a training loop costs beside a bare PyTorch loop, at about 10 ms a step: ours, fastai's, and Lightning's where it is installed.

    python benchmarks/train.py [--ms 10] [--steps 50] [--rounds 15] [--threads 1]

Batches are made beforehand and every loop takes the same steps (U-Net, our MSE, fused AdamW), in turn, in short rounds; the figure is the median over rounds
of a loop's processor time by that of the bare loop beside it. 'ours' has every callback of `fit` that acts within an epoch, and batches and tasks as `fit` has them. Averaging the weights (EMA)
is work that a bare loop would have to do as well, so it has a line of its own. Goal: at most 3 % over the bare loop; fastai 4 %, Lightning 3-6 %."""
import argparse, statistics, time, warnings
from functools import partial
from pathlib import Path

import torch


class Batches:
    "The same batch again and again, as typed tensors like those of our data"
    def __init__(self, batch, n): self.batch, self.n, self.dataset, self.bs = batch, n, range(n), len(batch[0])
    def __len__(self): return self.n
    def __iter__(self): return (self.batch for _ in range(self.n))


class Loaders:
    def __init__(self, train, valid): self.train, self.valid, self.device, self.path = train, valid, torch.device('cpu'), Path('.')
    def __getitem__(self, i): return (self.train, self.valid)[i]


def network():
    from vstain.model import build_net, net_config
    torch.manual_seed(0)
    return build_net(net_config('unet2d', 1, ['Nuclei'], widths=(8, 16, 32)))


class Alone(torch.nn.Module):
    "A network that gives the maps of its only head"
    def __init__(self, net): super().__init__(); self.net = net
    def forward(self, x): return self.net(x)['stain']


def regression():
    "The task of a stainer, as `fit` makes it of its data"
    import numpy as np
    from vstain.data import dataloaders
    from vstain.manifest import Manifest
    from vstain.tasks import make_tasks
    arrays = list(np.random.default_rng(0).normal(size=(2, 1, 32, 32)).astype('f4'))
    m = Manifest.from_arrays(arrays, [{'Nuclei': a} for a in arrays], split=['train', 'valid'], axes='ZYX')
    spec = dataloaders(m, (1, 32, 32), 2, cache=False, device='cpu').spec
    return {n: t.settle(spec, n) for n, t in make_tasks('regression').items()}


def batch(size):
    from vstain.core import SourceTensor, TargetTensor
    g = torch.Generator().manual_seed(0)
    return tuple(t(torch.randn(4, 1, size, size, generator=g)) for t in (SourceTensor, TargetTensor))


def bare(b, steps):
    from vstain.losses import MSELoss
    from vstain.model import to_channels_last
    from vstain.callbacks import parameter_groups
    net, loss, b = to_channels_last(Alone(network())).train(), MSELoss(), [t.as_subclass(torch.Tensor) for t in b]
    opt = torch.optim.AdamW(parameter_groups(net), 1e-3, fused=True)
    def run():
        for _ in range(steps):
            l = loss(net(b[0].contiguous(memory_format=torch.channels_last)), b[1])
            l.backward(); opt.step(); opt.zero_grad()
    return run


def ours(b, steps, ema=False):
    from fastai.callback.core import TrainEvalCallback
    from vstain.callbacks import (EMA, EpochSeed, LeanRecorder, Precision, Progress, Schedule, StainLearner, StopOnNaN, one_cycle,
                                  parameter_groups, pearson_metrics)
    from vstain.patches import Batch
    from vstain.tasks import TaskLoss
    from vstain.train import adamw
    tasks, net = regression(), network()
    b = b[0], Batch(dict(source=b[0], target=b[1]), samples=['A/1/0']*len(b[0]))
    cbs = [TrainEvalCallback(), LeanRecorder(), Precision('float32'), EpochSeed(0), StopOnNaN(), Schedule(partial(one_cycle, lr=1e-3)), Progress('off'), *([EMA()] if ema else [])]
    learn = StainLearner(Loaders(Batches(b, steps), []), net, TaskLoss(tasks, net), adamw, splitter=parameter_groups, cbs=cbs, metrics=pearson_metrics(tasks), default_cbs=False)
    learn.logger = lambda row: None
    StopOnNaN.after_epoch = lambda self: None # there is no validation here
    return lambda: learn.fit(1)


def fastai(b, steps):
    from fastai.basics import Learner, OptimWrapper
    import fastai.callback.all
    from vstain.losses import MSELoss
    from vstain.model import to_channels_last
    from vstain.callbacks import parameter_groups
    learn = Learner(Loaders(Batches(b, steps), []), to_channels_last(Alone(network())), MSELoss(), splitter=parameter_groups, opt_func=partial(OptimWrapper, opt=torch.optim.AdamW, fused=True))
    def run():
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-3)
    return run


def lightning(b, steps):
    import lightning as L
    from vstain.losses import MSELoss
    from vstain.model import to_channels_last
    from vstain.callbacks import parameter_groups
    class Module(L.LightningModule):
        def __init__(self): super().__init__(); self.net, self.loss = to_channels_last(Alone(network())), MSELoss()
        def training_step(self, b, i): l = self.loss(self.net(b[0]), b[1]); self.log('loss', l); return l
        def configure_optimizers(self): return torch.optim.AdamW(parameter_groups(self.net), 1e-3, fused=True)
    module, plain = Module(), tuple(t.as_subclass(torch.Tensor) for t in b)
    def run():
        L.Trainer(max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False).fit(module, Batches(plain, steps))
    return run


def clock(f):
    t = time.process_time(); f()
    return time.process_time() - t


def size_for(ms):
    "Side of the images with which a bare step takes about `ms`"
    for size in range(16, 512, 16):
        run = bare(batch(size), 10); run()
        if min(clock(run) for _ in range(3))*100 >= ms: return size
    return size


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--ms', type=float, default=10., help='milliseconds of a bare step')
    p.add_argument('--steps', type=int, default=50, help='steps in a round')
    p.add_argument('--rounds', type=int, default=15, help='rounds of each loop')
    p.add_argument('--threads', type=int, default=1, help='of torch')
    a = p.parse_args()
    torch.set_num_threads(a.threads); warnings.filterwarnings('ignore')
    b = batch(size_for(a.ms)); print(f'batches of {tuple(b[0].shape)}')
    loops = {'bare': bare(b, a.steps), 'ours': ours(b, a.steps), 'ours, with EMA': ours(b, a.steps, True), 'fastai': fastai(b, a.steps)}
    try: loops['lightning'] = lightning(b, a.steps)
    except ImportError: print('lightning is not installed')
    for f in loops.values(): f()
    seconds = {k: [] for k in loops}
    for _ in range(a.rounds):
        for k, f in loops.items(): seconds[k].append(clock(f))
    print(f"{'loop':16}{'ms a step':>10}{'over bare':>11}")
    for k, ts in seconds.items():
        over = statistics.median(t/s for t, s in zip(ts, seconds['bare'])) - 1
        print(f'{k:16}{min(ts)/a.steps*1e3:10.2f}{over*100:10.1f} %')


if __name__ == '__main__': main()
