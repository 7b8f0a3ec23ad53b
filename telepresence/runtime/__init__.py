"""What executes an engine: one small contract (`contract`), adapters behind it, and the choice between them."""
