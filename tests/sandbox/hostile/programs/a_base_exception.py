# row: A reload
# expect: CAPABILITY_ERROR
class Worst(BaseException):
    def __str__(self):
        raise self
    __repr__ = __str__
raise Worst
