"""Draw the README's pictures from the tables that `make demo` left: run it after a change that can be seen."""
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from urbanrivers_camtraps.dataset.card import plot_activity, plot_by_location, plot_samples
from urbanrivers_camtraps.evaluation.metrics import plot_confusion, plot_predictions
from urbanrivers_camtraps.foundations.tables import read_table
from urbanrivers_camtraps.images.banners import plot_banners


def draw_pictures(
    demo: Path, # folder of the demo
    folder: Path = Path('nbs/images'), # gets the pictures
) -> None:
    "Draw predictions, the confusion matrix and the pictures of the data card."
    predictions, photographs = (read_table(demo/f'{name}.parquet') for name in ('predictions', 'dataset'))
    shown = predictions.drop_duplicates('burst_id').groupby('label').head(2).sample(frac=1, random_state=1)
    for name, figure in {'predictions.jpg': plot_predictions(shown, count=8, order='as_given'),
                         'confusion.png': plot_confusion(predictions), 'by_location.png': plot_by_location(photographs),
                         'activity.png': plot_activity(photographs), 'samples.jpg': plot_samples(photographs),
                         'banners.jpg': plot_banners(photographs.dropna(subset=['deployment']))}.items():
        figure.savefig(folder/name, dpi=100)
        plt.close(figure)


if __name__ == '__main__': draw_pictures(Path(sys.argv[1] if len(sys.argv) > 1 else 'demo'))
