"""Search: car parks near a point with their live counts, answered from memory."""
