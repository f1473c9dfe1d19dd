"""What a device's fixes say about the fences it is in: fix checks, the enter/dwell/exit/cross machine, visits."""
