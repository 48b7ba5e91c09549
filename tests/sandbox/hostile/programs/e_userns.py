# row: E user namespaces
# row: E setns
# with: attempts
through(unshare=lambda: raw(272, 97, 0), setns=lambda: raw(308, 268, -1, 0))
