"""Runs the command given as arguments and prints its exit code, wall and CPU seconds and peak memory in bytes.

A program of its own, because the kernel starts a child's peak memory at that of the process it was started by: this
one stays small, the script that does the comparing does not.
"""

import os
import sys
import time

SILENT = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]

start = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=SILENT)
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - start
print(os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
