# row: H host name
# row: H uid
# expect: value true
import os, platform, getpass, sys
found = [] if sys.platform == "wasi" else [platform.node(), sys.executable or ""]
uid = os.getuid() if hasattr(os, "getuid") else -1
not any(found) and uid in (-1, 65534)
