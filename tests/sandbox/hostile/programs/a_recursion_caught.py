# row: A recursion
# expect: value "RecursionError"
def f():
    return f()
try:
    f()
except RecursionError as exc:
    said = type(exc).__name__
said
