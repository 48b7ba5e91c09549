# row: H environment
# wasm: value []
# process: value [0, 1, 2]
import select
found = []
if hasattr(select, "poll"):
    for descriptor in range(256):
        try:
            poll = select.poll()
            poll.register(descriptor, 1)
            if all(event != select.POLLNVAL for _, event in poll.poll(0)):
                found.append(descriptor)
        except OSError:
            pass
found[:3]
