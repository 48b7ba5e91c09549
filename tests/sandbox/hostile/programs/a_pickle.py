# row: A subclasses
# with: attempts
import pickle, os
class Evil:
    def __reduce__(self):
        return (os.system, ("true",))
def load():
    if pickle.loads(pickle.dumps(Evil())) != 0:
        raise PermissionError(1, "it said no")
through(load=load)
