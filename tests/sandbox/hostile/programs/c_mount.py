# row: C mount
# with: attempts
through(mount=lambda: raw(165, 40, 0, b"/", b"belljar-none", 0, 0), chroot=lambda: __import__("os").chroot("/"))
