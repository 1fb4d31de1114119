"""The commands of `kinaema`: their arguments, and what is run with them."""
