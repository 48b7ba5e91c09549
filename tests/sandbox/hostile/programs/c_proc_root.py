# row: C root of processes
# with: attempts
import os
through(root=lambda: os.listdir("/proc/self/root"), cwd=lambda: os.listdir("/proc/self/cwd"), fds=lambda: os.listdir("/proc/self/fd"))
