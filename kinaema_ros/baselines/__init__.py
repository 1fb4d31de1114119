"""What the memory is compared with."""
