# row: B double fork
# with: attempts
import os
def daemon():
    if (pid := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
through(daemon=daemon)
