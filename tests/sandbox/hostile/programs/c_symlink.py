# row: C symlink out
# with: attempts
import os
def link():
    os.symlink("/etc", "/tmp/belljar-hostile")
    os.unlink("/tmp/belljar-hostile")
through(link=link)
