# row: C dot dot
# with: attempts
import os
through(up=lambda: os.listdir("../" * 20), passwd=lambda: open("../" * 20 + "etc/passwd"), here=lambda: os.listdir("."), cd=lambda: os.chdir("/"))
