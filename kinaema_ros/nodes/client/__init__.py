"""What programs use to talk to the nodes."""
