# row: C environ of processes
# with: attempts
through(own=lambda: open("/proc/self/environ").read(), maps=lambda: open("/proc/self/maps").read(), mem=lambda: open("/proc/self/mem", "rb").close(), cmdline=lambda: open("/proc/1/cmdline").read())
