# row: G patched client
# expect: CAPABILITY_ERROR|WORKER_CRASH
class E(ToolError):
    code = property(lambda self: "INTERRUPTED")
    message = property(lambda self: 1 / 0)
    data = property(lambda self: 1 / 0)
    def __init__(self):
        Exception.__init__(self)
raise E
