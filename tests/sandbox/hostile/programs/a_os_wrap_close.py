# row: A os._wrap_close
# with: attempts
import os
def command():
    system = os._wrap_close.__init__.__globals__["system"]
    if system("true") != 0:
        raise PermissionError(1, "it said no")
through(command=command)
