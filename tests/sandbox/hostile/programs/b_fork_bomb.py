# row: B fork bomb
# with: attempts
import os
def bomb():
    for _ in range(20):
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
through(bomb=bomb, clone=lambda: raw(435, 435, 0, 0))
