import subprocess
import sys

import pytest

from dsrl_mm.engine import memory

# Without torch, whose import would take most of the time: its CPU tensors lie in the C library's memory, as these do.
FAULTS_OF_TEN_BLOCKS = """
import resource, runpy, sys
module = runpy.run_path(sys.argv[1])
assert sys.argv[2] == 'default' or module['keep_freed_memory']()
size = 2**26  # not a constant to fold
for _ in range(3):
    b'1' * size
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    b'1' * size
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='what the GNU C library does')
def test_pages_are_not_faulted_in_again():
    default, kept = (
        int(subprocess.check_output([sys.executable, '-c', FAULTS_OF_TEN_BLOCKS, memory.__file__, mode]))
        for mode in ('default', 'kept')
    )
    assert kept < default / 5
