"""What agents know: documents and facts, where they are known from, and what follows from them."""
