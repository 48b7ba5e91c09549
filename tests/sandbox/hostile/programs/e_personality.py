# row: E personality
# row: E new mount API
# row: E open_by_handle_at
# with: attempts
through(personality=lambda: raw(135, 92, 0xFFFFFFFF), tree=lambda: raw(428, 428, -100, b"/nonexistent", 0), handle=lambda: raw(304, 265, -100, 0, 0))
