"""A training of two tasks in a real SLURM of one node, which the test starts."""

import getpass
import os
import platform
import shutil
import subprocess
import time
from contextlib import ExitStack

import pytest
import torch
from toy_data import REPO, call, write_camvid, write_config
from toy_processes import free_port

from dsrl_mm import cli

MISSING = [name for name in ('slurmctld', 'slurmd', 'srun') if shutil.which(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f'{", ".join(MISSING)} not found: apt-get install slurmctld slurmd'),
]

SETTINGS = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=cpus Nodes=ALL Default=YES
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Start a controller and a node of two CPUs, and stop them at the end."""
    folder = tmp_path / 'slurm'
    for name in ('state', 'spool'):
        (folder / name).mkdir(parents=True)
    ports = dict(controller_port=free_port(), node_port=free_port())
    settings = SETTINGS.format(host=platform.node(), user=getpass.getuser(), folder=folder, **ports)
    (folder / 'slurm.conf').write_text(settings)
    monkeypatch.setenv('SLURM_CONF', str(folder / 'slurm.conf'))
    with ExitStack() as stack:
        for daemon in ('slurmctld', 'slurmd'):
            log = stack.enter_context((folder / f'{daemon}.log').open('w'))
            process = stack.enter_context(subprocess.Popen([daemon, '-D'], stdout=log, stderr=log))
            stack.callback(process.terminate)
        deadline = time.monotonic() + 600
        while subprocess.run(['sinfo', '-h', '-t', 'idle', '-o', '%n'], capture_output=True).stdout.strip() == b'':
            logs = {log.stem: log.read_text()[-1000:] for log in folder.glob('*.log')}
            assert time.monotonic() < deadline, f'SLURM has no idle node: {logs}'
            time.sleep(0.2)
        yield


def test_two_tasks_train_like_one_process_with_the_batch_of_both(cluster, tmp_path):
    # Group norm: a process has no statistics of a whole batch.
    config = write_config(tmp_path, write_camvid(tmp_path / 'camvid', val=1), norm_cfg=dict(type='GN', num_groups=2))
    env = dict(os.environ, GPUS='2', GPUS_PER_NODE='2', GRES='', CPUS_PER_TASK='1', MASTER_PORT=free_port())
    command = ['bash', REPO / 'tools/slurm_train.sh', 'cpus', 'toy', config, '--work-dir', tmp_path / 'two']
    subprocess.run(command, env=env, cwd=tmp_path, check=True, timeout=600)

    call(cli.train, config, '--work-dir', tmp_path / 'one', '--cfg-options', 'train_dataloader.batch_size=4')
    one, two = (torch.load(tmp_path / name / 'iter_4.pth', weights_only=False) for name in ('one', 'two'))
    torch.testing.assert_close(two['state_dict'], one['state_dict'], rtol=1e-5, atol=1e-6)
