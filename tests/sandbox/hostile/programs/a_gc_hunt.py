# row: A hunt for tokens
# expect: value []
import gc, sys
needle = "".join(["bj", "_", "host" * 8])
held = []
for each in gc.get_objects():
    if type(each) is dict:
        held += [type(v).__name__ for v in list(each.values()) if type(v) is str and v is not needle and needle in v]
for module in list(sys.modules.values()):
    held += [n for n, v in list(vars(module).items()) if n != "needle" and type(v) is str and needle in v]
held
