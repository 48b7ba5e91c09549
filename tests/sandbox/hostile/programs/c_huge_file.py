# row: C 100 GB file
# with: attempts
import os
def fill():
    descriptor = os.open("/tmp/belljar-hostile", os.O_CREAT | os.O_WRONLY)
    os.unlink("/tmp/belljar-hostile")
    os.write(descriptor, b"x")
    os.close(descriptor)
through(fill=fill)
