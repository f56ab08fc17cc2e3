"""Runs `dqn-train --live-plot` in this process and closes its window as a user would, once the result is shown."""

import sys

import matplotlib as mpl

from dqn_training.cli.main import train


def main() -> None:
    """Argument 1 is the repository, the others are flags."""
    mpl.use("TkAgg")
    from matplotlib import pyplot as plt

    def close(*, block: bool) -> None:
        figure = plt.gcf()
        figure.canvas.draw()
        assert block
        assert figure.axes[0].get_title().endswith("result")
        assert len(figure.axes[0].lines) == 2, "durations and their 100-episode mean"
        plt.close("all")
        print("window drawn, result shown")

    plt.show = close  # type: ignore[assignment]
    sys.argv = ["dqn-train", "--live-plot", "--repository", *sys.argv[1:]]
    train()


if __name__ == "__main__":
    main()
