"""Everything that is installed is declared in settings.ini; this file only reads it."""
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
settings = config['DEFAULT']


def requirements(name: str) -> list[str]:
    "Split the requirement list `name` of settings.ini."
    return settings[f'{name}requirements'].split()


def description() -> str:
    "Return the README with links and pictures that also work on PyPI, which does not have the repository."
    blob, raw = (f"{settings['git_url'].replace('//github', host)}/{part}{settings['branch']}/" for host, part in
                 (('//github', 'blob/'), ('//raw.githubusercontent', '')))
    text = Path('README.md').read_text(encoding='utf-8')
    text = re.sub(r'(!\[[^\]]*\]\(|src=")(?!https?:)', rf'\1{raw}', text)
    return re.sub(r'(\]\()(?!https?:|#)', rf'\1{blob}', text)


votes, serve, app, mcp, survey, package, mixed, scale, heic = (
    requirements(f'{o}_') for o in ('votes', 'serve', 'app', 'mcp', 'survey', 'package', 'mixed', 'scale', 'heic'))
train = requirements('train_') + votes + serve  # the demo serves the sandbox, and review finds label errors
speciesnet = requirements('speciesnet_') + train
everything = speciesnet + mcp + survey + package + mixed + scale + heic
setup(
    name=settings['lib_name'],
    version=settings['version'],
    description=settings['description'],
    long_description=description(),
    long_description_content_type='text/markdown',
    author=settings['author'],
    url=settings['git_url'],
    project_urls={'Documentation': settings['doc_host'] + settings['doc_baseurl'],
                  'Changelog': f"{settings['git_url']}/blob/{settings['branch']}/CHANGELOG.md"},
    license='Apache-2.0',
    keywords=settings['keywords'],
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    packages=find_packages(include=[settings['lib_path'], f"{settings['lib_path']}.*"]),
    include_package_data=True,
    python_requires=f">={settings['min_python']}",
    install_requires=requirements(''),
    extras_require={'votes': votes, 'serve': serve, 'train': train, 'app': app, 'mcp': mcp, 'speciesnet': speciesnet,
                    'survey': survey, 'package': package, 'mixed': mixed, 'scale': scale, 'heic': heic, 'all': everything,
                    'dev': requirements('dev_') + everything},
    entry_points={
        'console_scripts': settings['console_scripts'].split(),
        'nbdev': [f"{settings['lib_path']}={settings['lib_path']}._modidx:d"],  # for links between the docs' pages
    },
    zip_safe=False,
)
