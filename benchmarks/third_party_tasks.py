"""The environments of benchmarks/third_party.py: the commands suggested by their READMEs, and earlier results."""

from typing import NamedTuple


class Task(NamedTuple):
    """A command with no settings but its steps; `remedy` is added if it is refused; `before` is of commit 86639e8."""

    flags: str
    package: str
    steps: int
    before: str
    remedy: str = ""
    requires: str = ""  # further packages, which pip does not install with it


_NET = "sumo_rl/nets/2way-single-intersection/single-intersection"
_SUMO = f'{{"net_file": "$SITE/{_NET}.net.xml", "route_file": "$SITE/{_NET}-vhvh.rou.xml", "num_seconds": 500}}'
_OWN = "third_party_environments"

TASKS = {
    "minigrid": Task(
        "minigrid:MiniGrid-Empty-5x5-v0", "minigrid", 6_000, "refused: a Dict; FlattenObservation, as advised, failed"
    ),
    "highway": Task("highway_env:highway-fast-v0", "highway-env", 1_500, "not ended in 150 s"),
    "flappy": Task("flappy_bird_gymnasium:FlappyBird-v0", "flappy-bird-gymnasium", 4_000, "not ended in 150 s"),
    "tetris": Task("tetris_gymnasium.envs:tetris_gymnasium/Tetris", "tetris-gymnasium", 4_000, "refused: a Dict"),
    "stocks": Task("gym_anytrading:stocks-v0", "gym-anytrading", 10_000, "not ended in 150 s"),
    "trading": Task(
        "gym_trading_env:TradingEnv",
        "gym-trading-env",
        2_000,
        "refused: needs a DataFrame",
        f"--env-id {_OWN}:Trading-v0",
    ),
    "vizdoom": Task(
        "vizdoom.gymnasium_wrapper:VizdoomBasic-v1", "vizdoom", 500, "refused: a Dict; pixels not ended in 120 s"
    ),
    "deep-sea-treasure": Task(
        "mo_gymnasium:deep-sea-treasure-v0",
        "mo-gymnasium",
        4_000,
        "refused: a reward of two numbers",
        "--reward-weights 1 0.1",
    ),
    "2048": Task(
        "gymnasium_2048:gymnasium_2048/TwentyFortyEight-v0",
        "gymnasium-2048",
        4_000,
        "no result: its evaluations had no end",
    ),
    "snake": Task("gymnasium_snake_game:Snake-v1", "gymnasium-snake-game", 10_000, "not ended in 150 s"),
    "jss": Task("JSSEnv:jss-v1", "JSSEnv", 2_000, "refused: a Dict", f"--env-id {_OWN}:JobShop-v0"),
    "nasim": Task(
        "nasim:TinySmall-v0",
        "nasim",
        4_000,
        "failed in step 1: takes Python's int only",
        "--wrapper PlainAction",
    ),
    "repeat-previous": Task(
        "popgym:popgym-RepeatPreviousEasy-v0", "popgym", 10_000, "-0.49 (random -0.51); needs memory"
    ),
    "position-only": Task("popgym:popgym-PositionOnlyCartPoleEasy-v0", "popgym", 6_000, "0.05 (0.11); needs memory"),
    "minesweeper": Task("popgym:popgym-MineSweeperEasy-v0", "popgym", 4_000, "refused: MultiDiscrete actions"),
    "battleship": Task("popgym:popgym-BattleshipEasy-v0", "popgym", 4_000, "refused: MultiDiscrete actions"),
    "knapsack": Task("or_gymnasium:Knapsack-v0", "or-gymnasium", 4_000, "refused: a Dict"),
    "bin-packing": Task("or_gymnasium:BinPacking-v0", "or-gymnasium", 10_000, "-100.0 (-101.6)"),
    "inventory": Task("or_gymnasium:InvManagement-v0", "or-gymnasium", 4_000, "refused: Box actions", "--discretize 5"),
    "newsvendor": Task(
        "or_gym_inventory:or_gym_inventory/Newsvendor-v0",
        "or-gym-inventory",
        4_000,
        "refused: Box actions",
        "--discretize 5",
    ),
    "sepsis": Task(
        "sepsisim:sepsisim/SepsisManagement-v0", "sepsisim", 4_000, "refused: Box actions", "--discretize 5"
    ),
    "catch": Task("shimmy:bsuite/catch-v0", "shimmy[bsuite]", 6_000, "1.00 (-0.62), the most there is"),
    "deep-sea": Task(
        "shimmy:bsuite/deep_sea-v0",
        "shimmy[bsuite]",
        4_000,
        "refused: needs `size`",
        "--env-kwargs '{\"size\": 5}'",
    ),
    "rush-hour": Task("rushhour_gym:RushHour-v0", "rushhour-gym", 4_000, "refused: fetches a file when it is made"),
    "simplegrid": Task("gym_simplegrid:SimpleGrid-4x4-v0", "gym-simplegrid", 10_000, "-16.0 (-23.4)"),
    "motor": Task("gym_electric_motor:Finite-CC-PMSM-v0", "gym-electric-motor", 3_000, "refused: a Tuple"),
    "nethack": Task("nle:NetHackScore-v0", "nle", 500, "refused: a Dict of 16; glyphs alone: -50 (+24)"),
    "minatar": Task(
        "MinAtar/Breakout-v1", "MinAtar", 4_000, "trained; its own observations were refused by the server"
    ),
    "sumo": Task(
        f"sumo_rl:sumo-rl-v0 --env-kwargs '{_SUMO}'",
        "sumo-rl",
        1_000,
        "not ended in 150 s",
        requires="eclipse-sumo",
    ),
    "retro": Task(
        f"{_OWN}:Airstriker-v0",
        "stable-retro",
        1_000,
        "failed: one instance a process, and no flag for that",
    ),
    "connect-four": Task(
        f"{_OWN}:ConnectFour-v0", "pettingzoo[classic]", 4_000, "0.23 (-0.26) on the board alone; masks ignored"
    ),
    "elevators": Task(f"{_OWN}:Elevators-v0", "pyRDDLGym", 2_000, "refused: a Dict", requires="rddlrepository"),
    "blackjack": Task("Blackjack-v1", "gymnasium", 4_000, "refused: a Tuple"),
    "cliff": Task("CliffWalking-v1", "gymnasium", 10_000, "no result in 560 s: its evaluations had no end"),
    "frozen-lake": Task("FrozenLake-v1", "gymnasium", 20_000, "0.30, 0.58, 0.44 (seeds 0, 1, 2; random 0.01)"),
    "taxi": Task("Taxi-v4", "gymnasium", 20_000, "-200, -283 with 30,000 steps (seeds 0, 1; random -776)"),
}
"""By short name, for `--only`. The command is `dqn-train --env-id` with `flags`, then `--total-env-steps`."""
