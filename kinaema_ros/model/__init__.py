"""The network: encoder, memory cell, query decoder. Pure PyTorch."""
