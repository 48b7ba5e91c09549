# row: B set-user-id programs
# with: attempts
import os
through(su=lambda: os.execv("/bin/su", ["su", "--version"]) if open("/bin/su") is None else None, exec=lambda: os.execv("/nonexistent/belljar", ["x"]))
