"""What runs where: layers of a network on machines, and a fleet's vehicles on its servers."""
