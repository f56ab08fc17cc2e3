"""What happened in production, the contract between serving, which writes it, and training, which learns from it."""
