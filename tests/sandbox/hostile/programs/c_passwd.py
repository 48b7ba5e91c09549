# row: C passwd
# with: attempts
import os
through(passwd=lambda: open("/etc/passwd").read(), shadow=lambda: os.stat("/etc/shadow"), hosts=lambda: open("/etc/hosts"))
