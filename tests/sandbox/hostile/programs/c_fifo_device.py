# row: C fifo and device
# with: attempts
import os
def make(mode):
    def attempt():
        os.mknod("/tmp/belljar-hostile", mode | 0o600, os.makedev(1, 3))
        os.unlink("/tmp/belljar-hostile")
    return attempt
through(fifo=make(0o010000), device=make(0o020000), null=lambda: open("/dev/null").close())
