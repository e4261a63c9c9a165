"""What a process runs on: devices, peers, signals, compiled programs, progress."""
