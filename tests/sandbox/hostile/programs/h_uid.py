# row: H uid
# wasm: value -1
# process: value -1
import os
os.getuid() if hasattr(os, "getuid") else -1
