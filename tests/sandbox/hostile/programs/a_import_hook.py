# row: A deleted modules
# expect: value 1
import sys, builtins
class Finder:
    def find_spec(self, *a):
        raise SystemExit("hooked")
sys.meta_path.insert(0, Finder())
builtins.__import__ = lambda *a, **k: 1 / 0
1
