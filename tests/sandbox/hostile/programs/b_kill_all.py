# row: B kill all
# with: attempts
import os
through(everybody=lambda: os.kill(-1, 0), group=lambda: os.kill(0, 0))
