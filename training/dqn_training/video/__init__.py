"""Films a policy: the environment's own pictures of its episodes, in a file."""
