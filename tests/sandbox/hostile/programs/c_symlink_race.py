# row: C symlink swapped in a race
# keep: yes
# expect: CAPABILITY_ERROR
# limits: wall=3
import os
for n in range(200):
    with open("kept", "w") as file:
        file.write("x")
    os.unlink("kept")
    try:
        os.symlink("/etc/passwd", "kept")
    except OSError:
        pass
    try:
        os.unlink("kept")
    except OSError:
        pass
os.symlink("/etc/passwd", "kept")
"raced"
