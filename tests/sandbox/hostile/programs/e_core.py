# row: E core dumps
# with: attempts
import os
def dump():
    import resource
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except ValueError:
        raise PermissionError(1, "limits") from None
through(limits=dump)
