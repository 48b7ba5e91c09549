# row: B memfd and exec
# with: attempts
import os
through(memfd=lambda: os.close(os.memfd_create("x")), fexecve=lambda: os.execve(os.memfd_create("x"), ["x"], {}))
