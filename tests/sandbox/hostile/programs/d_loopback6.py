# row: D ::1
# with: attempts
import socket
through(tcp6=lambda: socket.socket(socket.AF_INET6).close())
