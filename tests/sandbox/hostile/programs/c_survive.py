# row: C survive into the next run
# with: attempts
import json, os, sys
def write(folder):
    def attempt():
        path = folder + "/belljar-hostile"
        open(path, "w").close()
        os.unlink(path)
    return attempt
through(site=write("/usr/lib"), tmp=write("/tmp"), shm=write("/dev/shm"), var=write("/var/tmp"))
