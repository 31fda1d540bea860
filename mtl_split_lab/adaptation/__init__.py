"""How the edge's control fares over links that change: traces of real ones."""
