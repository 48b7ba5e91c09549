# row: C hard link
# with: attempts
import os
def link():
    os.link("/etc/passwd", "/etc/belljar-hostile")
    os.unlink("/etc/belljar-hostile")
through(link=link)
