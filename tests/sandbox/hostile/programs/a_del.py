# row: A reload
# expect: value 1
class Undead:
    def __del__(self):
        global kept
        kept = Undead()
        raise RuntimeError("in __del__")
kept = Undead()
kept = None
1
