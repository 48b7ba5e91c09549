# row: C trusted configuration
# with: attempts
import os
def write(path):
    def attempt():
        with open(path, "x"):
            pass
        os.unlink(path)
    return attempt
through(config=write("/etc/belljar-hostile.toml"), root=write("/belljar-hostile.toml"))
