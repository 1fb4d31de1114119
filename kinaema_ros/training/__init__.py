"""How the network and the learned baselines are trained and calibrated."""
