# row: B process_vm_readv
# with: attempts
import os
through(read=lambda: raw(310, 270, os.getppid(), 0, 0, 0, 0, 1), write=lambda: raw(311, 271, os.getppid(), 0, 0, 0, 0, 1))
