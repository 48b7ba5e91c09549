# row: G pickles
# expect: RESULT_NOT_JSON
class Evil:
    def __reduce__(self):
        import os
        return (os.system, ("touch /tmp/belljar-hostile",))
Evil()
