"""An example plant: `dqn-train --env-id plant:Tank-v0` imports this package, which registers it with Gymnasium."""

import gymnasium

gymnasium.register(id="Tank-v0", entry_point="plant.tank:Tank", max_episode_steps=200)
