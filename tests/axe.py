"""What axe-core finds wrong in a page, for the tests of every page that we write or serve."""
from typing import NamedTuple

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

#: The windows in which each page is looked at: a desk and a phone.
DESK, PHONE = {'width': 1280, 'height': 900}, {'width': 390, 'height': 844}


class Violation(NamedTuple):
    "A rule that an element breaks."
    rule: str # by its id in axe-core, such as `color-contrast`
    element: str # its CSS selector
    words: str # what is wrong, and what the element is


def violations(
    page: Page, # open and drawn
    within: str | None = None, # a CSS selector, to look at a part of the page alone
    without: tuple[str, ...] = (), # rules that are not ours to keep, by id
) -> list[Violation]: # empty if there are none
    "Run all rules of axe-core, the best practices among them."
    options = {'resultTypes': ['violations'], 'rules': {o: {'enabled': False} for o in without}}
    found = Axe().run(page, within, options).response['violations']
    return [Violation(rule['id'], ' '.join(map(str, node['target'])), f"{rule['help']}: {_words(node)}: {node['html'][:200]}")
            for rule in found for node in rule['nodes']]


def overflowing(
    page: Page, # open and drawn
) -> list[str]: # what is wider than the window, outside of what scrolls
    "List the elements that make the whole page scroll sideways."
    return page.evaluate('''() => document.documentElement.scrollWidth <= innerWidth ? [] :
        [...document.body.querySelectorAll('*')].filter(o => o.getBoundingClientRect().right > innerWidth + 1 && !o.closest('.scroll, [tabindex]'))
            .map(o => `${o.tagName} ${o.className}: ${o.textContent.slice(0, 40)}`)''')


def _words(node: dict) -> str:
    "Return the first message of each kind about one element."
    return '; '.join(o['message'] for kind in ('any', 'all', 'none') for o in node[kind][:1])
