# row: H host name
# row: H boot id
# with: attempts
import os, socket
def host_name():
    if not socket.gethostname():
        raise PermissionError(1, "empty")
through(uname=lambda: raw(63, 160, __import__("ctypes").create_string_buffer(500)), boot=lambda: open("/proc/sys/kernel/random/boot_id").read(), machine=lambda: open("/proc/version").read())
