import subprocess
import sys

import pytest

FAULTS_OF_TEN_BLOCKS = """
import resource, sys
from dsrl_mm.engine.memory import keep_freed_memory
assert sys.argv[1] == 'default' or keep_freed_memory()
import torch
for _ in range(3):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='what the GNU C library does')
def test_pages_are_not_faulted_in_again():
    default, kept = (
        int(subprocess.check_output([sys.executable, '-c', FAULTS_OF_TEN_BLOCKS, mode])) for mode in ('default', 'kept')
    )
    assert kept < default / 5
