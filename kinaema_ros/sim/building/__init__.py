"""How a scene is made."""
