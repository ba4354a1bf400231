"""What a block is made of: moves, leaves, headers, envelopes, trees, and their forms on the wire."""
