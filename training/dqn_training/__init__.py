"""Trains DQN policies, judges them, and publishes them to the model repository."""
