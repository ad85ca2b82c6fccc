"""Make everything that is made from the notebooks: clean notebooks, the modules, app.py and README.md."""
from nbdev.clean import nbdev_clean
from nbdev.doclinks import nbdev_export
from nbdev.export import nb_export
from readme import write_readme

if __name__ == '__main__':
    nbdev_clean()
    nbdev_export()
    nb_export('nbs/9_apps/940_space.ipynb', lib_path='.', name='app')  # a Space wants its app.py at the top
    write_readme()
