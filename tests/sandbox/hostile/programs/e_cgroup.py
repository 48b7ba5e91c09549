# row: E cgroup
# with: attempts
import os
through(read=lambda: os.listdir("/sys/fs"), kernel=lambda: open("/proc/sys/kernel/ostype").read())
