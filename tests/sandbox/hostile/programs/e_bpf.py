# row: E bpf
# row: E perf
# row: E userfaultfd
# with: attempts
through(bpf=lambda: raw(321, 280, 99, 0, 0), perf=lambda: raw(298, 241, 0, 0, -1, -1, 0), fault=lambda: raw(323, 282, -1), uring=lambda: raw(425, 425, 0, 0))
