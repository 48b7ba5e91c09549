# row: B subprocess
# with: attempts
import subprocess
through(run=lambda: subprocess.run(["true"], check=True), shell=lambda: subprocess.check_output("true", shell=True))
