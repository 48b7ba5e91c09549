# row: C ssh keys
# with: attempts
import os
through(root=lambda: os.listdir("/root"), home=lambda: os.listdir("/home"), ssh=lambda: os.listdir("/etc/ssh") or os.listdir("/etc"))
