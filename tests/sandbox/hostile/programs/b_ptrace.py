# row: B ptrace
# with: attempts
import os
through(ptrace=lambda: raw(101, 117, 2, os.getppid(), 0, 0), pidfd=lambda: os.close(os.pidfd_open(os.getppid())))
