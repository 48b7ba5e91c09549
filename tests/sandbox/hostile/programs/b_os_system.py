# row: B os.system
# with: attempts
import os
def system():
    if os.system("true") != 0:
        raise PermissionError(1, "it said no")
through(system=system, popen=lambda: os.posix_spawn("/bin/true", ["true"], {}))
