# row: G pickles
# expect: ok|RESULT_NOT_JSON|CAPABILITY_ERROR
class S(str):
    def isascii(self):
        while True: return True
    def encode(self, *a):
        return b"forged"
class D(dict):
    def items(self):
        return [("forged", S("\ud800"))]
class I(int):
    def __repr__(self):
        return "]]]] forged"
[S("x"), D(), I(1)]
