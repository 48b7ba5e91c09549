# row: C symlink out
# keep: yes
# expect: CAPABILITY_ERROR
import os
os.symlink("/etc/passwd", "stolen")
os.symlink("/", "root")
"made"
