# row: B kill the parent
# with: attempts
import os
through(parent=lambda: os.kill(os.getppid(), 0), init=lambda: os.kill(1, 0))
