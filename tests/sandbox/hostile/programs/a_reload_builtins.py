# row: A reload
# expect: value 3
import builtins, importlib, sys
for module in (builtins, sys):
    try:
        importlib.reload(module)
    except BaseException:
        pass
len([1, 2, 3])
