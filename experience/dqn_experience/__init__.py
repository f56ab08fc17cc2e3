"""What happened in production: the contract between serving, which records it, and training, which learns from it."""
