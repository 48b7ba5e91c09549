# row: A reload
# expect: value 1
import atexit
def last():
    while True:
        pass
atexit.register(last)
1
