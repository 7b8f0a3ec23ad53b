"""What an edge is beside its connections: the room as its page sees it, who is shown where, and what is drawn when."""
