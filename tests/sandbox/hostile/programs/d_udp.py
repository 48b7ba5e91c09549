# row: D UDP
# with: attempts
import socket
through(udp=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close())
