"""Measure what is promised about speed, each figure against its rival in one run: `make bench`, or `make bench ONLY=fetch`."""
import importlib
import sys

BENCHES = ('fetch', 'clean', 'images', 'train', 'predict', 'app', 'browser', 'results', 'season', 'review')


def line(
    found: dict, # what one bench measured
) -> str:
    "Say one figure and whether it is what was wanted."
    if 'skipped' in found: return f"{found['what']}: skipped, {found['skipped']}"
    if 'ratio' in found:
        compared = (f"{found['what']}: {found['seconds']:.1f} s against {found['rival_seconds']:.1f} s ({found['rival']}): "
                    f"{found['ratio']:.2f} times as fast")
        if 'wanted' not in found: return compared
        verdict = 'as wanted' if found['ratio'] >= found['wanted'] else 'MISSED'
        return f"{compared}, wanted {found['wanted']:g}: {verdict}"
    if 'at_least' in found:
        verdict = 'as wanted' if found['rate'] >= found['at_least'] and not found['errors'] else 'MISSED'
        return f"{found['what']}: {found['rate']:.1f} a second, {found['errors']} errors, wanted {found['at_least']:g}: {verdict}"
    name = next(o.removeprefix('wanted_') for o in found if o.startswith('wanted_'))
    verdict = 'as wanted' if found[name] <= found[f'wanted_{name}'] else 'MISSED'
    return f"{found['what']}: {found[name]:.1f} {name}, wanted at most {found[f'wanted_{name}']:g}: {verdict}"


def main(
    names: list[str], # which of `BENCHES`; all by default
) -> None:
    "Run benches one after the other and print a line for each figure."
    for name in names or BENCHES:
        found = importlib.import_module(f'bench_{name}').main()
        for one in [found] if isinstance(found, dict) else found: print(line(one), flush=True)


if __name__ == '__main__': main(sys.argv[1:])
