# row: B threads
# wasm: CAPABILITY_ERROR
# process: value 1
import threading
def forever():
    while True:
        print("x" * 1000)
threading.Thread(target=forever, daemon=True).start()
1
