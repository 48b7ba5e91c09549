# row: C dot dot
# expect: value true
import os, sys
try:
    found = os.getcwd()
except OSError:
    found = ""
found in ("", "/") and not any("/home" in p or "/root" in p or "site-packages" in p for p in sys.path)
